// CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from their binary files: 32x32 RGB images, 50,000 for training and 10,000 for the test. A record is
//
//   CIFAR-10:  label, 3072 bytes                   data_batch_1.bin ... data_batch_5.bin, test_batch.bin;  names in batches.meta.txt
//   CIFAR-100: coarse label, fine label, 3072      train.bin, test.bin;  names in fine_label_names.txt and coarse_label_names.txt
//
// with one byte per label, and pixels as planes: red, green, blue, each in rows from the top. The layout is that of www.cs.toronto.edu/~kriz/cifar.html.
#pragma once

#include <string>
#include <vector>

#include "data/data_spec.h"
#include "data/dataset.h"

namespace fm {

// "cifar10:FOLDER" and "cifar100:FOLDER" (kinds.h). FileError: a file is missing, has another size, or a label that has no name.
Dataset load_cifar10(DataSpec& spec, Split split);
Dataset load_cifar100(DataSpec& spec, Split split);

std::vector<std::string> cifar10_classes(const DataSpec& spec);
std::vector<std::string> cifar100_classes(const DataSpec& spec);      // names of the labels (fine or coarse) that the key `labels` chooses

}  // namespace fm
