// Batch norm: means and variances by channel, then the affine map, each one pass over the input;
// and its backward: sums by channel, then the gradient.
//
// All channels of a thread go through one pass after the other: images lie a power of two apart, so
// that the rows of one channel would compete for the same lines of the cache. An image has `pixels` values of one channel in a row. Long rows are gone through one by one;
// where they are short, an image's channels are gone through as one long row, with an
// accumulator and factors for each of its values.
#include <vector>

#include "kernels.h"

using namespace ratebp;

namespace {

constexpr int64_t RUN = 4096;   // values that are added up in W before they go to a double
constexpr int64_t IMAGES = 64;  // the same, for short rows
constexpr int64_t LONG = 64;

template <class W>
NOINLINE W sum(const W* x, int64_t n) {
    W total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++) total += x[i];
    return total;
}

template <class W>
NOINLINE W squares(const W* x, int64_t n, W centre) {
    W total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++) total += (x[i] - centre) * (x[i] - centre);
    return total;
}

template <class W>
NOINLINE W products(const W* x, const W* y, int64_t n, W centre) {
    W total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++) total += x[i] * (y[i] - centre);
    return total;
}

// out = x * by_x + y * by_y + shift
template <class W>
NOINLINE void combine(const W* x, const W* y, int64_t n, W by_x, W by_y, W shift, W* out) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = x[i] * by_x + y[i] * by_y + shift;
}

template <class W>
NOINLINE void map(const W* x, int64_t n, W centre, W scale, W shift, W* out) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = (x[i] - centre) * scale + shift;
}

template <class W>
NOINLINE void add(const W* __restrict__ x, int64_t n, W* __restrict__ totals) {
    for (int64_t i = 0; i < n; i++) totals[i] += x[i];
}

template <class W>
NOINLINE void add_squares(const W* __restrict__ x, const W* __restrict__ centre, int64_t n,
                          W* __restrict__ totals) {
    for (int64_t i = 0; i < n; i++) totals[i] += (x[i] - centre[i]) * (x[i] - centre[i]);
}

template <class W>
NOINLINE void add_products(const W* __restrict__ x, const W* __restrict__ y,
                           const W* __restrict__ centre, int64_t n, W* __restrict__ totals) {
    for (int64_t i = 0; i < n; i++) totals[i] += x[i] * (y[i] - centre[i]);
}

template <class W>
NOINLINE void combine_each(const W* __restrict__ x, const W* __restrict__ y,
                           const W* __restrict__ by_x, const W* __restrict__ by_y,
                           const W* __restrict__ shift, int64_t n, W* __restrict__ out) {
    for (int64_t i = 0; i < n; i++) out[i] = x[i] * by_x[i] + y[i] * by_y[i] + shift[i];
}

template <class W>
NOINLINE void map_each(const W* x, const W* __restrict__ centre, const W* __restrict__ scale,
                       const W* __restrict__ shift, int64_t n, W* out) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = (x[i] - centre[i]) * scale[i] + shift[i];
}

// Some neighbouring channels of a tensor [images, channels, pixels].
struct Channels {
    int64_t from, number, images, pixels, step;

    int64_t values() const { return number * pixels; }
    bool rows_are_long() const { return pixels >= LONG; }

    // Call f(channel, first, n) for all rows, in runs.
    template <class F>
    void rows(const F& f) const {
        for (int64_t image = 0; image < images; image++)
            for (int64_t k = 0; k < number; k++)
                for (int64_t done = 0; done < pixels; done += RUN) {
                    const int64_t first = image * step + (from + k) * pixels + done;
                    f(k, first, std::min(RUN, pixels - done));
                }
    }

    // Let f(first, totals) add an image's values to `totals`; add those up by channel.
    template <class W, class F>
    void images_of(double* totals, const F& f) const {
        std::vector<W> part(values());
        for (int64_t image = 0; image < images; image++) {
            f(image * step + from * pixels, part.data());
            if (image % IMAGES != IMAGES - 1 && image != images - 1) continue;
            for (int64_t i = 0; i < values(); i++) totals[i / pixels] += double(part[i]);
            std::fill(part.begin(), part.end(), W(0));
        }
    }

    // A value for each channel, once for each pixel.
    template <class W>
    std::vector<W> spread(const W* each) const {
        std::vector<W> all(values());
        for (int64_t k = 0; k < number; k++)
            std::fill_n(all.begin() + k * pixels, pixels, each[k]);
        return all;
    }
};

template <class W>
void apply(const W* x, const W* centre, const W* scale, const W* shift, W* out,
           const Channels& of) {
    if (of.rows_are_long()) {
        for (int64_t image = 0; image < of.images; image++)
            for (int64_t k = 0; k < of.number; k++) {
                const int64_t row = image * of.step + (of.from + k) * of.pixels;
                map(x + row, of.pixels, centre[k], scale[k], shift[k], out + row);
            }
        return;
    }
    const std::vector<W> centres = of.spread(centre), scales = of.spread(scale),
                         shifts = of.spread(shift);
    for (int64_t image = 0; image < of.images; image++) {
        const int64_t at = image * of.step + of.from * of.pixels;
        map_each(x + at, centres.data(), scales.data(), shifts.data(), of.values(), out + at);
    }
}

template <class W>
void blend(const W* x, const W* y, const W* by_x, const W* by_y, const W* shift, W* out,
           const Channels& of) {
    if (of.rows_are_long()) {
        of.rows([=](int64_t k, int64_t at, int64_t n) {
            combine(x + at, y + at, n, by_x[k], by_y[k], shift[k], out + at);
        });
        return;
    }
    const std::vector<W> of_x = of.spread(by_x), of_y = of.spread(by_y), shifts = of.spread(shift);
    for (int64_t image = 0; image < of.images; image++) {
        const int64_t at = image * of.step + of.from * of.pixels;
        combine_each(x + at, y + at, of_x.data(), of_y.data(), shifts.data(), of.values(),
                     out + at);
    }
}

template <class W>
void normalise(const W* c, const W* weight, const W* bias, double eps, W* out, W* mean,
               W* variance, W* inv_std, const Channels& of) {
    const double share = 1.0 / double(of.images * of.pixels);
    std::vector<double> sums(of.number), deviations(of.number);
    std::vector<W> scale(of.number), shift(of.number);
    if (of.rows_are_long()) {
        of.rows([&](int64_t k, int64_t at, int64_t n) { sums[k] += double(sum(c + at, n)); });
    } else {
        of.images_of<W>(sums.data(), [=](int64_t at, W* part) { add(c + at, of.values(), part); });
    }
    for (int64_t k = 0; k < of.number; k++) mean[k] = W(sums[k] * share);
    if (of.rows_are_long()) {
        of.rows([&](int64_t k, int64_t at, int64_t n) {
            deviations[k] += double(squares(c + at, n, mean[k]));
        });
    } else {
        const std::vector<W> centres = of.spread(mean);
        of.images_of<W>(deviations.data(), [&](int64_t at, W* part) {
            add_squares(c + at, centres.data(), of.values(), part);
        });
    }
    for (int64_t k = 0; k < of.number; k++) {
        variance[k] = W(deviations[k] * share);
        inv_std[k] = W(1 / std::sqrt(deviations[k] * share + eps));
        scale[k] = weight ? inv_std[k] * weight[k] : inv_std[k];
        shift[k] = bias ? bias[k] : W(0);
    }
    apply(c, mean, scale.data(), shift.data(), out, of);
}

// The gradients of y = weight * xhat + bias by x, weight and bias, xhat = (x - mean) * spread.
template <class W>
void differentiate(const W* grad, const W* x, const W* weight, const W* mean, const W* spread,
                   const W* offset, bool frozen, W* out, W* by_weight, W* by_bias,
                   const Channels& of) {
    const double share = frozen ? 0 : 1.0 / double(of.images * of.pixels);
    std::vector<double> sums(of.number), moments(of.number);
    std::vector<W> centre(of.number), by_grad(of.number), by_x(of.number), shift(of.number);
    if (mean) std::copy(mean, mean + of.number, centre.begin());
    if (of.rows_are_long()) {
        of.rows([&](int64_t k, int64_t at, int64_t n) {
            sums[k] += double(sum(grad + at, n));
            moments[k] += double(products(grad + at, x + at, n, centre[k]));
        });
    } else {
        const std::vector<W> centres = of.spread(centre.data());
        of.images_of<W>(sums.data(),
                        [=](int64_t at, W* part) { add(grad + at, of.values(), part); });
        of.images_of<W>(moments.data(), [&](int64_t at, W* part) {
            add_products(grad + at, x + at, centres.data(), of.values(), part);
        });
    }
    for (int64_t k = 0; k < of.number; k++) {
        const double one = spread ? double(spread[k]) : 1;
        const double scale = weight ? double(weight[k]) * one : one;
        const double moment = moments[k] * one, slope = scale * moment * share;
        by_weight[k] = W(moment);
        by_bias[k] = W(sums[k]);
        by_grad[k] = W(scale);
        by_x[k] = W(-slope * one);
        shift[k] = W(slope * (double(centre[k]) * one + (offset ? double(offset[k]) : 0)) -
                     scale * sums[k] * share);
    }
    blend(grad, x, by_grad.data(), by_x.data(), shift.data(), out, of);
}

// Call f for shares of the channels, a thread for each.
template <class F>
void shares(int64_t images, int64_t channels, int64_t pixels, int64_t threads, const F& f) {
    const int64_t number = images * channels * pixels > LARGE ? threads : 1;
#pragma omp parallel for num_threads(number) if (number > 1)
    for (int64_t share = 0; share < number; share++) {
        const int64_t from = channels * share / number, to = channels * (share + 1) / number;
        if (from < to) f(Channels{from, to - from, images, pixels, channels * pixels});
    }
}

}  // namespace

extern "C" {

const char* ratebp_batch_norm(Memory c, Memory weight, Memory bias, double eps, Memory out,
                              Memory mean, Memory variance, Memory inv_std, int64_t images,
                              int64_t channels, int64_t pixels, int64_t threads) {
    const int64_t values = product(images, channels, pixels);
    REQUIRE(c.wide() && c.holds(values));
    REQUIRE(weight.missing_or(channels, c) && bias.missing_or(channels, c));
    REQUIRE(out.type == c.type && out.holds(values));
    REQUIRE(mean.type == c.type && mean.holds(channels));
    REQUIRE(variance.type == c.type && variance.holds(channels));
    REQUIRE(inv_std.type == c.type && inv_std.holds(channels));
    in_type_of(c, [&](auto w) {
        using W = decltype(w);
        const W *scale = weight.as<W>(), *shift = bias.as<W>();
        shares(images, channels, pixels, threads, [=](const Channels& of) {
            const int64_t k = of.from;
            normalise(c.as<W>(), scale ? scale + k : scale, shift ? shift + k : shift, eps,
                      out.as<W>(), mean.as<W>() + k, variance.as<W>() + k, inv_std.as<W>() + k, of);
        });
    });
    return nullptr;
}

const char* ratebp_batch_norm_backward(Memory grad, Memory x, Memory weight, Memory mean,
                                       Memory spread, Memory offset, int64_t frozen, Memory out,
                                       Memory by_weight, Memory by_bias, int64_t images,
                                       int64_t channels, int64_t pixels, int64_t threads) {
    const int64_t values = product(images, channels, pixels);
    REQUIRE(x.wide() && x.holds(values));
    REQUIRE(grad.type == x.type && grad.holds(values));
    REQUIRE(weight.missing_or(channels, x) && mean.missing_or(channels, x));
    REQUIRE(spread.missing_or(channels, x) && offset.missing_or(channels, x));
    REQUIRE(out.type == x.type && out.holds(values));
    REQUIRE(by_weight.type == x.type && by_weight.holds(channels));
    REQUIRE(by_bias.type == x.type && by_bias.holds(channels));
    in_type_of(x, [&](auto w) {
        using W = decltype(w);
        const auto from = [](const Memory& each, int64_t k) {
            return each.given() ? each.as<W>() + k : nullptr;
        };
        shares(images, channels, pixels, threads, [=](const Channels& of) {
            const int64_t k = of.from;
            differentiate<W>(grad.as<W>(), x.as<W>(), from(weight, k), from(mean, k),
                             from(spread, k), from(offset, k), frozen, out.as<W>(),
                             from(by_weight, k), from(by_bias, k), of);
        });
    });
    return nullptr;
}

const char* ratebp_affine(Memory x, Memory weight, Memory bias, Memory out, int64_t images,
                          int64_t channels, int64_t pixels, int64_t threads) {
    const int64_t values = product(images, channels, pixels);
    REQUIRE(x.wide() && x.holds(values));
    REQUIRE(weight.missing_or(channels, x) && bias.missing_or(channels, x));
    REQUIRE(out.type == x.type && out.holds(values));
    if (values == 0) return nullptr;
    in_type_of(x, [&](auto w) {
        using W = decltype(w);
        const std::vector<W> zero(channels), one(channels, W(1));
        const W* scale = weight.given() ? weight.as<W>() : one.data();
        const W* shift = bias.given() ? bias.as<W>() : zero.data();
        shares(images, channels, pixels, threads, [=, &zero](const Channels& of) {
            const int64_t k = of.from;
            apply(x.as<W>(), zero.data() + k, scale + k, shift + k, out.as<W>(), of);
        });
    });
    return nullptr;
}

}  // extern "C"
