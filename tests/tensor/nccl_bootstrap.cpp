// How ranks on GPUs find each other, with the real NCCL if the build has it. To share NCCL's id needs no GPU. After that each rank needs a GPU, or
// throws a clear error.
#include <doctest/doctest.h>

#include <thread>

#include "tensor/collectives/file_rendezvous.h"
#include "tensor/collectives/nccl.h"
#include "tensor/collectives/tcp.h"
#include "tensor/collectives/threads.h"
#include "tests/support/temp_folder.h"

using namespace fm;

TEST_CASE("all ranks get the same NCCL id by TCP, with an address from a file; a build without NCCL refuses") {
  SingleRank alone;
  if (nccl_version().empty()) {
    CHECK_THROWS_WITH_AS(share_nccl_id(alone), doctest::Contains("this build is without NCCL"), DeviceError);
    return;
  }
  const TempFolder folder;
  const FileRendezvous file{folder.path(), "job/1//"};
  std::vector<std::string> ids(3);
  std::vector<std::thread> threads;
  for (int r = 2; r >= 0; --r)
    threads.emplace_back([&, r] {
      TcpRendezvous w{"localhost", 0, file.job, r, 3, 30};
      w.called = "the address in a file";
      w.listening = [&](int port) { leave_at(file, std::to_string(port)); };
      w.find = [&](std::string* why) -> TcpRendezvous::Found {
        const std::string text = look_at(file, why);
        if (text.empty()) return {};
        return {"localhost", std::stoi(text), ""};
      };
      MessageCommunicator ranks([&] { return open_tcp_channel(w); });
      ids[static_cast<std::size_t>(r)] = share_nccl_id(ranks);
      ranks.finish();
    });
  for (std::thread& t : threads) t.join();
  MESSAGE("NCCL " << nccl_version());
  CHECK(ids[0].size() == 128);
  CHECK(ids[0].find_first_not_of('\0') != std::string::npos);
  CHECK((ids[1] == ids[0] && ids[2] == ids[0]));
  CHECK(share_nccl_id(alone) != ids[0]);
}

TEST_CASE("without a GPU, open_nccl throws DeviceError") {
  std::string why;
  if (cuda_device_count(&why) > 0) return;
  CHECK_THROWS_AS(open_nccl(std::make_unique<SingleRank>(), Device::cuda(0)), DeviceError);
}
