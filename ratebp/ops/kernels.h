// What the C++ kernels share: the LIF equation, blocks of neurons, memory of several types.
//
// A kernel takes one block of neurons after the other through all its time steps, their state in
// local arrays that stay in the cache. Each loop over a block is one that compilers vectorise, and
// the next block's memory is fetched meanwhile: time steps lie megabytes apart, which a processor
// does not foresee.
// Products and sums are not fused (-ffp-contract=off), so that a potential has the rounding of the
// readable version.
//
// Every function that Python calls first requires that what it will read and write is there, and
// returns what is not: no memory is trusted to be in range.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

// A loop over a block is a function of its own: inlined into the loop over time steps, compilers
// fail to vectorise it.
#define NOINLINE __attribute__((noinline))

// Return from a function that Python calls with what it needs and has not got.
#define REQUIRE(...) \
    if (!(__VA_ARGS__)) return #__VA_ARGS__

namespace ratebp {

constexpr int64_t BLOCK = 512;
constexpr int64_t LARGE = 1 << 15;  // neurons; below, waking threads takes longer than the work

enum Type : int64_t { FLOAT32, FLOAT64, BFLOAT16, FLOAT16, BYTE };
enum Surrogate : int64_t { SIGMOID, TRIANGLE, ATAN, RECTANGLE, FAST_SIGMOID };

// A bfloat16: the upper half of a float's bits.
struct Brain {
    uint16_t bits;

    Brain() = default;

    explicit Brain(double value) : Brain(float(value)) {}

    // Round to the nearest, ties to even.
    explicit Brain(float value) {
        uint32_t whole;
        std::memcpy(&whole, &value, sizeof whole);
        const uint32_t rounded = (whole + 0x7fff + ((whole >> 16) & 1)) >> 16;
        bits = value == value ? uint16_t(rounded) : uint16_t(0x7fc0);
    }

    operator float() const {
        const uint32_t whole = uint32_t(bits) << 16;
        float value;
        std::memcpy(&value, &whole, sizeof value);
        return value;
    }
};

// A product of sizes; -1, which no memory holds, if one is negative or the product too large.
template <class... Sizes>
inline int64_t product(Sizes... sizes) {
    int64_t total = 1;
    bool legal = true;
    for (int64_t each : {int64_t(sizes)...})
        legal = legal && each >= 0 && !__builtin_mul_overflow(total, each, &total);
    return legal ? total : -1;
}

// The elements of a tensor; no data stands for a tensor that is not there.
struct Memory {
    void* data;
    int64_t type;
    int64_t size;  // elements from the first to the last, whatever the strides between

    bool given() const { return data != nullptr; }

    bool wide() const { return type == FLOAT32 || type == FLOAT64; }

    // Are `steps` stretches of `number` elements in it, `step` apart?
    bool holds(int64_t number, int64_t steps = 1, int64_t step = 0) const {
        if (number < 0 || steps < 0 || step < 0 || type < FLOAT32 || type > BYTE) return false;
        if (number == 0 || steps == 0) return true;
        int64_t last;
        return given() && reinterpret_cast<uintptr_t>(data) % width() == 0 && number <= size &&
               !__builtin_mul_overflow(steps - 1, step, &last) && last <= size - number;
    }

    // Is it missing, or `number` elements of the type of `like`?
    bool missing_or(int64_t number, const Memory& like) const {
        return !given() || (type == like.type && holds(number));
    }

    // Elements [at, at + n) as W: where they are, or in `buffer` if they are of another type.
    template <class W>
    const W* read(int64_t at, int64_t n, W* buffer) const {
        if (type == type_of(W())) {
            const W* p = static_cast<const W*>(data) + at;
            for (int64_t i = 0; i < BLOCK; i += 64 / sizeof(W)) __builtin_prefetch(p + BLOCK + i);
            return p;
        }
        if (type == FLOAT32) convert(static_cast<const float*>(data) + at, n, buffer);
        if (type == FLOAT64) convert(static_cast<const double*>(data) + at, n, buffer);
        if (type == BFLOAT16) convert(static_cast<const Brain*>(data) + at, n, buffer);
        if (type == FLOAT16) convert(static_cast<const _Float16*>(data) + at, n, buffer);
        if (type == BYTE) convert(static_cast<const uint8_t*>(data) + at, n, buffer);
        return buffer;
    }

    // Where to write elements from `at` on as W, before `written`: there, or in `buffer`.
    template <class W>
    W* slot(int64_t at, W* buffer) const {
        return type == type_of(W()) ? static_cast<W*>(data) + at : buffer;
    }

    // Turn what was written to a `slot` into elements [at, at + n), if they are of another type.
    template <class W>
    void written(const W* slot, int64_t at, int64_t n) const {
        if (type != type_of(W())) store(slot, at, n);
    }

    template <class W>
    void store(const W* from, int64_t at, int64_t n) const {
        if (type == FLOAT32) convert(from, n, static_cast<float*>(data) + at);
        if (type == FLOAT64) convert(from, n, static_cast<double*>(data) + at);
        if (type == BFLOAT16) convert(from, n, static_cast<Brain*>(data) + at);
        if (type == FLOAT16) convert(from, n, static_cast<_Float16*>(data) + at);
        if (type == BYTE) convert(from, n, static_cast<uint8_t*>(data) + at);
    }

    // The elements, which are W.
    template <class W>
    W* as() const {
        return static_cast<W*>(data);
    }

    // The same from `at` on, for a block.
    template <class W>
    W* as(int64_t at) const {
        W* p = static_cast<W*>(data) + at;
        for (int64_t i = 0; i < BLOCK; i += 64 / sizeof(W)) __builtin_prefetch(p + BLOCK + i, 1);
        return p;
    }

  private:
    uintptr_t width() const {
        return type == BYTE ? 1 : type == FLOAT64 ? 8 : type == FLOAT32 ? 4 : 2;
    }

    static constexpr int64_t type_of(float) { return FLOAT32; }
    static constexpr int64_t type_of(double) { return FLOAT64; }

    template <class S, class D>
    static void convert(const S* __restrict__ from, int64_t n, D* __restrict__ to) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = static_cast<D>(from[i]);
    }

    // Spikes, 0 or 1: by way of an integer of their size, which vectorises.
    static void convert(const float* __restrict__ from, int64_t n, uint8_t* __restrict__ to) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = static_cast<uint8_t>(static_cast<int32_t>(from[i]));
    }
};

// a * b + c, rounded once where the processor does so at no cost: for slopes, never for potentials.
template <class W>
inline W multiply_add(W a, W b, W c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return std::fma(a, b, c);
#else
    return a * b + c;
#endif
}

// e^x for x <= 0: x = n ln 2 + r, by a Taylor polynomial in r and the exponent n.
//
// Adding 1.5 * 2^(bits of the mantissa) rounds to an integer, which then stands in the low bits.
inline float exp_negative(float x) {
    const float inside = x < -87.0f ? 0.0f : 1.0f;  // below, the result has no exponent
    x = x < -87.0f ? -87.0f : x;
    const float shifted = x * 1.44269504088896341f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) - n * -2.12194440054690583e-4f;
    float p = 1.0f / 5040;
    p = multiply_add(p, r, 1.0f / 720);
    p = multiply_add(p, r, 1.0f / 120);
    p = multiply_add(p, r, 1.0f / 24);
    p = multiply_add(p, r, 1.0f / 6);
    p = multiply_add(p, r, 0.5f);
    p = multiply_add(p, r, 1.0f);
    p = multiply_add(p, r, 1.0f);
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return p * power * inside;
}

inline double exp_negative(double x) {
    const double inside = x < -708.0 ? 0.0 : 1.0;
    x = x < -708.0 ? -708.0 : x;
    const double shifted = x * 1.44269504088896340736 + 6755399441055744.0;
    const double n = shifted - 6755399441055744.0;
    const double r = (x - n * 6.93147180369123816490e-1) - n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800;
    p = multiply_add(p, r, 1.0 / 479001600);
    p = multiply_add(p, r, 1.0 / 39916800);
    p = multiply_add(p, r, 1.0 / 3628800);
    p = multiply_add(p, r, 1.0 / 362880);
    p = multiply_add(p, r, 1.0 / 40320);
    p = multiply_add(p, r, 1.0 / 5040);
    p = multiply_add(p, r, 1.0 / 720);
    p = multiply_add(p, r, 1.0 / 120);
    p = multiply_add(p, r, 1.0 / 24);
    p = multiply_add(p, r, 1.0 / 6);
    p = multiply_add(p, r, 0.5);
    p = multiply_add(p, r, 1.0);
    p = multiply_add(p, r, 1.0);
    uint64_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 52) + 0x3ff0000000000000u;
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return p * power * inside;
}

// The constants of a layer, as they are passed.
struct Constants {
    double decay, threshold, alpha;
    int64_t hard, detached, surrogate;

    bool legal() const {
        return decay >= 0 && decay <= 1 && threshold > 0 && std::isfinite(threshold) &&
               surrogate >= SIGMOID && surrogate <= FAST_SIGMOID;
    }
};

// d u[t+1] / d u[t], see ratebp/dynamics.py. No branch and no product with a zero depends on what
// resets: loops vectorise, and an infinite potential stays infinite.
template <class W, bool HARD, bool DETACHED>
struct Jacobian {
    W decay, threshold;

    W operator()(W u, W h) const {
        if (!HARD) return DETACHED ? decay : decay * (1 - threshold * h);
        const W silent = u >= threshold ? W(0) : W(1);
        return decay * (DETACHED ? silent : silent - u * h);
    }
};

template <class W, class J>
NOINLINE void adjoint_by(J jacobian, const W* __restrict__ d, const W* u, const W* __restrict__ h,
                         int64_t n, W* __restrict__ later, W* out) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const W now = d[i] * h[i] + later[i] * jacobian(u[i], h[i]);
        later[i] = now;
        out[i] = now;
    }
}

template <bool HARD, class W>
NOINLINE void charge_by(W decay, W threshold, const W* __restrict__ now, int64_t n,
                        W* __restrict__ left, W* __restrict__ u, W* __restrict__ s) {
    for (int64_t i = 0; i < n; i++) {
        const W charged = left[i] + now[i], spike = charged >= threshold ? W(1) : W(0);
        u[i] = charged;
        s[i] = spike;
        left[i] = (HARD ? charged * (1 - spike) : charged - spike * threshold) * decay;
    }
}

// The LIF equation, see ratebp/dynamics.py and ratebp/surrogates.py.
template <class W>
struct Lif {
    W decay, threshold, alpha;
    bool hard, detached;
    int64_t surrogate;

    explicit Lif(const Constants& c)
        : decay(W(c.decay)), threshold(W(c.threshold)), alpha(W(c.alpha)), hard(c.hard),
          detached(c.detached), surrogate(c.surrogate) {}

    // Charge what is `left` of a block's potentials with a current: potentials u, spikes s, and
    // what is left of them.
    void charge(const W* now, int64_t n, W* left, W* u, W* s) const {
        if (hard) {
            charge_by<true>(decay, threshold, now, n, left, u, s);
        } else {
            charge_by<false>(decay, threshold, now, n, left, u, s);
        }
    }

    // Call f with the temporal Jacobian.
    template <class F>
    void with_jacobian(const F& f) const {
        if (hard && detached) f(Jacobian<W, true, true>{decay, threshold});
        if (hard && !detached) f(Jacobian<W, true, false>{decay, threshold});
        if (!hard && detached) f(Jacobian<W, false, true>{decay, threshold});
        if (!hard && !detached) f(Jacobian<W, false, false>{decay, threshold});
    }

    // out = later = d * h + later * d u[t+1] / d u[t], the adjoint of a block.
    void adjoint(const W* d, const W* u, const W* h, int64_t n, W* later, W* out) const {
        with_jacobian([=](auto jacobian) { adjoint_by(jacobian, d, u, h, n, later, out); });
    }

    // h[i] = h'(u[i] - threshold) for a block of potentials.
    NOINLINE void slopes(const W* __restrict__ u, int64_t n, W* __restrict__ h) const {
        const W one = 1, threshold = this->threshold, alpha = this->alpha;
        if (surrogate == SIGMOID) {
            for (int64_t i = 0; i < n; i++) {
                const W e = exp_negative(-std::abs(alpha * (u[i] - threshold)));
                h[i] = alpha * e / ((one + e) * (one + e));
            }
        } else if (surrogate == TRIANGLE) {
            for (int64_t i = 0; i < n; i++) {
                const W x = alpha - alpha * alpha * std::abs(u[i] - threshold);
                h[i] = x < 0 ? W(0) : x;
            }
        } else if (surrogate == ATAN) {
            const W steepness = W(1.57079632679489661923) * alpha, peak = alpha / 2;
            for (int64_t i = 0; i < n; i++) {
                const W y = steepness * (u[i] - threshold);
                h[i] = peak / (one + y * y);
            }
        } else if (surrogate == RECTANGLE) {
            const W half = one / (2 * alpha);
            for (int64_t i = 0; i < n; i++) h[i] = std::abs(u[i] - threshold) < half ? alpha : W(0);
        } else {
            for (int64_t i = 0; i < n; i++) {
                const W y = alpha * std::abs(u[i] - threshold) + one;
                h[i] = one / (y * y);
            }
        }
    }
};

// Run f(first, n) for all blocks of `number` neurons.
template <class F>
void blocks(int64_t number, int64_t threads, const F& f) {
#pragma omp parallel for num_threads(threads) if (threads > 1 && number > LARGE)
    for (int64_t first = 0; first < number; first += BLOCK) {
        f(first, std::min(BLOCK, number - first));
    }
}

// Call f with a 0 of the type in which potentials of `like` integrate: double or float.
template <class F>
void in_type_of(const Memory& like, const F& f) {
    if (like.type == FLOAT64) {
        f(0.0);
    } else {
        f(0.0f);
    }
}

}  // namespace ratebp
