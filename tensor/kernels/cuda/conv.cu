// Family `conv` on a GPU: the products of cpu/conv.cpp with patches of several images at a time in memory of the device. If patches
// overlap, one thread adds all contributions to an element of the image, in order. So there are no atomics and results are the same every time.
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"
#include "tensor/memory/allocator.h"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

constexpr Count workspace_elements = Count(1) << 23;  // elements of patches at a time: 32 MiB in f32, which stays in the cache of a large GPU
constexpr Count row_blocks = 65535;                   // the maximum of blocks along y

void product(const GemmArgs<float, float>& g) { gemm_kernels().f32(g); }
void product(const GemmArgs<double, double>& g) { gemm_kernels().f64(g); }

// Sizes of a convolution, passed to kernels.
struct Sizes {
  explicit Sizes(const ConvShape& s)
      : shape(s),
        taps(s.kernel_h * s.kernel_w),
        k(s.in_channels * taps),
        out_height(s.out_height()),
        out_width(s.out_width()),
        pixels(out_height * out_width),
        image(s.in_channels * s.height * s.width),
        output(s.out_channels * pixels),
        direct(taps == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0) {}

  ConvShape shape;
  Count taps, k;  // kernel_h * kernel_w, rows of the patch matrix
  Count out_height, out_width, pixels;
  Count image, output;  // elements of one x and of one y
  bool direct;          // a 1x1 kernel: the image is its own patch matrix
};

// Some images, and the same pixels [begin, begin + pixels) of each.
struct Part {
  Count first, images, begin, pixels;
};

// Calls f(part) for parts that are whole images, or pieces of one. A part needs at most workspace_elements elements, `per_pixel` for each output
// pixel.
template <class F>
void for_each_part(const Sizes& z, Count per_pixel, F&& f) {
  if (z.pixels == 0) return;
  const Count fitting = workspace_elements / (per_pixel < 1 ? 1 : per_pixel);
  const Count images = fitting / z.pixels < 1 ? 1 : fitting / z.pixels;
  const Count rounded = fitting / 64 * 64, piece = fitting >= z.pixels ? z.pixels : rounded < 64 ? 64 : rounded;
  for (Count first = 0; first < z.shape.batch; first += images)
    for (Count begin = 0; begin < z.pixels; begin += piece)
      f(Part{first, z.shape.batch - first < images ? z.shape.batch - first : images, begin,
             z.pixels - begin < piece ? z.pixels - begin : piece});
}

template <class T>
std::shared_ptr<std::byte> workspace(Count elements) {
  return allocate(static_cast<std::size_t>(elements) * sizeof(T), Device::cuda(current_device()));
}

// Returns the grid of a kernel whose blocks have rows in y and neighbors in x.
dim3 grid_of_rows(Count rows, Count n) {
  const dim3 columns = grid_for(n, 1);
  return dim3(columns.x, static_cast<unsigned>(rows < row_blocks ? rows : row_blocks));
}
template <class... Parameters, class... Args>
void over_rows(Count rows, Count n, void (*kernel)(Parameters...), Args... args) {
  if (rows > 0 && n > 0) launch(current_stream(), grid_of_rows(rows, n), dim3(threads_per_block), 0, kernel, args...);
}

// patches[q * image_step + r * lead + p] = the input of row r = (c, u, v) of the kernel at pixel part.begin + p of image part.first + q.
template <class T>
__global__ void patches_kernel(Sizes z, const T* x, T* patches, Part part, Count lead, Count image_step) {
  const ConvShape& s = z.shape;
  for (Count row = blockIdx.y; row < part.images * z.k; row += gridDim.y) {
    const Count q = row / z.k, r = row - q * z.k, c = r / z.taps, tap = r - c * z.taps, u = tap / s.kernel_w, v = tap - u * s.kernel_w;
    const T* plane = x + (part.first + q) * z.image + c * s.height * s.width;
    T* to = patches + q * image_step + r * lead;
    for (Count p = first_element(); p < part.pixels; p += element_step()) {
      const Count i = (part.begin + p) / z.out_width, j = part.begin + p - i * z.out_width;
      const Count h = i * s.stride_h - s.pad_h + u, w = j * s.stride_w - s.pad_w + v;
      to[p] = h >= 0 && h < s.height && w >= 0 && w < s.width ? plane[h * s.width + w] : T(0);
    }
  }
}

// The transpose: gx[...] (+)= the contributions of the patches (images, k, pixels) of this part.
template <class T>
__global__ void add_patches_kernel(Sizes z, const T* patches, T* gx, Part part, bool accumulate) {
  const ConvShape& s = z.shape;
  const Count plane = s.height * s.width;
  for (Count row = blockIdx.y; row < part.images * s.in_channels; row += gridDim.y) {
    const Count q = row / s.in_channels, c = row - q * s.in_channels;
    const T* from = patches + (q * z.k + c * z.taps) * part.pixels - part.begin;
    T* to = gx + (part.first + q) * z.image + c * plane;
    for (Count at = first_element(); at < plane; at += element_step()) {
      const Count h = at / s.width + s.pad_h, w = at % s.width + s.pad_w;
      T sum = accumulate ? to[at] : T(0);
      for (Count u = h % s.stride_h; u < s.kernel_h && u <= h; u += s.stride_h)
        for (Count v = w % s.stride_w; v < s.kernel_w && v <= w; v += s.stride_w) {
          const Count i = (h - u) / s.stride_h, j = (w - v) / s.stride_w, p = i * z.out_width + j;
          if (i < z.out_height && j < z.out_width && p >= part.begin && p < part.begin + part.pixels)
            sum += from[(u * s.kernel_w + v) * part.pixels + p];
        }
      to[at] = sum;
    }
  }
}

// y[row, p] = bias[row % channels] (+ y[row, p])
template <class T>
__global__ void bias_kernel(const T* bias, T* y, Count rows, Count channels, Count pixels, bool accumulate) {
  for (Count row = blockIdx.y; row < rows; row += gridDim.y)
    for (Count p = first_element(); p < pixels; p += element_step())
      y[row * pixels + p] = (accumulate ? y[row * pixels + p] : T(0)) + bias[row % channels];
}

// out (channels, images, pixels) = gy (images, channels, pixels) of the part, so that the sum runs over all pixels of the part.
template <class T>
__global__ void channels_first_kernel(Sizes z, const T* gy, T* out, Part part) {
  const Count channels = z.shape.out_channels;
  for (Count row = blockIdx.y; row < part.images * channels; row += gridDim.y) {
    const Count o = row / part.images, q = row - o * part.images;
    const T* from = gy + (part.first + q) * z.output + o * z.pixels + part.begin;
    for (Count p = first_element(); p < part.pixels; p += element_step()) out[row * part.pixels + p] = from[p];
  }
}

template <class T>
void forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y, bool accumulate) {
  const Sizes z(s);
  if (bias)
    over_rows(s.batch * s.out_channels, z.pixels, bias_kernel<T>, bias, y, s.batch * s.out_channels, s.out_channels, z.pixels, accumulate);
  const auto run = [&](const Part& part, const T* patches, Count lead, Count step) {
    GemmArgs<T, T> g{s.out_channels, part.pixels, z.k, w, z.k, false, patches, lead, false, y + part.first * z.output + part.begin,
                     z.pixels};
    g.batch = part.images;
    g.stride_b = step;
    g.stride_c = z.output;
    g.accumulate = accumulate || bias;
    product(g);
  };
  if (z.direct) return run(Part{0, s.batch, 0, z.pixels}, x, z.pixels, z.image);
  for_each_part(z, z.k, [&](const Part& part) {
    const auto memory = workspace<T>(part.images * z.k * part.pixels);
    T* patches = reinterpret_cast<T*>(memory.get());
    over_rows(part.images * z.k, part.pixels, patches_kernel<T>, z, x, patches, part, part.pixels, z.k * part.pixels);
    run(part, patches, part.pixels, z.k * part.pixels);
  });
}

template <class T>
void grad_input(const ConvShape& s, const T* gy, const T* w, T* gx, bool accumulate) {
  const Sizes z(s);
  const auto run = [&](const Part& part, T* patches, Count lead, Count step, bool add) {
    GemmArgs<T, T> g{z.k,      part.pixels, s.out_channels, w,   z.k, true, gy + part.first * z.output + part.begin,
                     z.pixels, false,       patches,        lead};
    g.batch = part.images;
    g.stride_b = z.output;
    g.stride_c = step;
    g.accumulate = add;
    product(g);
  };
  if (z.direct) return run(Part{0, s.batch, 0, z.pixels}, gx, z.pixels, z.image, accumulate);
  if (z.pixels == 0 && !accumulate) zero_memory(gx, static_cast<std::size_t>(s.batch * z.image) * sizeof(T));
  for_each_part(z, z.k, [&](const Part& part) {
    const auto memory = workspace<T>(part.images * z.k * part.pixels);
    T* patches = reinterpret_cast<T*>(memory.get());
    run(part, patches, part.pixels, z.k * part.pixels, false);
    over_rows(part.images * s.in_channels, s.height * s.width, add_patches_kernel<T>, z, static_cast<const T*>(patches), gx, part,
              accumulate || part.begin > 0);
  });
}

template <class T>
void grad_weight(const ConvShape& s, const T* x, const T* gy, T* gw, bool accumulate) {
  const Sizes z(s);
  GemmArgs<T, T> g{s.out_channels, z.k, 0, gy, 1, false, x, 1, true, gw, z.k};
  g.accumulate = accumulate;
  if (s.batch == 0 || z.pixels == 0) return product(g);
  for_each_part(z, z.k + s.out_channels, [&](const Part& part) {
    const Count all = part.images * part.pixels;
    const auto memory = workspace<T>((z.k + s.out_channels) * all);
    T* patches = reinterpret_cast<T*>(memory.get());
    T* rows = patches + z.k * all;
    over_rows(part.images * z.k, part.pixels, patches_kernel<T>, z, x, patches, part, all, part.pixels);
    over_rows(part.images * s.out_channels, part.pixels, channels_first_kernel<T>, z, gy, rows, part);
    g.k = g.lda = g.ldb = all;
    g.a = rows;
    g.b = patches;
    product(g);
    g.accumulate = true;
  });
}

}  // namespace

const ConvKernels& conv_kernels() {
  static constexpr ConvKernels table{{forward<float>, grad_input<float>, grad_weight<float>},
                                     {forward<double>, grad_input<double>, grad_weight<double>}};
  return table;
}

}  // namespace fm::cuda
