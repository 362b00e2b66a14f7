// The LIF scan from the terms of its current: norms' outputs by their affine maps, spikes as bits.
//
// The backward writes potentials into the memory of its result and comes back over them.
#include "kernels.h"

using namespace ratebp;

namespace {

struct Shape {
    int64_t channels, pixels, channels_last, size, timesteps, number;

    // Where neuron i stands among all if pixels are innermost.
    int64_t logical(int64_t i) const {
        if (!channels_last) return i;
        const int64_t place = i / channels, image = place / pixels;
        return (image * channels + i % channels) * pixels + place % pixels;
    }

    // Are a time step's neurons whole images?
    bool legal() const {
        const int64_t image = product(channels, pixels);
        return image > 0 && number >= 0 && number % image == 0 && timesteps >= 0;
    }
};

struct Term {
    Memory values, weight, bias;
    int64_t step;  // between time steps of values
    Shape shape;

    // Are there values, of the type of `like` or as bits, and none but whole factors?
    bool holds(const Memory& like) const {
        const int64_t elements = product(shape.timesteps, shape.number);
        const bool there = values.type == BYTE
                               ? elements >= 0 && elements <= product(shape.size, 8) &&
                                     values.holds(shape.size)
                               : values.type == like.type &&
                                     values.holds(shape.number, shape.timesteps, step);
        return there && weight.missing_or(shape.channels, like) &&
               bias.missing_or(shape.channels, like);
    }

    // Write what the values of neurons [first, first + n) are multiplied with and shifted by.
    template <class W>
    void factors(int64_t first, int64_t n, W* scale, W* shift) const {
        along(weight, W(1), first, n, scale);
        along(bias, W(0), first, n, shift);
    }

    template <class W>
    void along(const Memory& channels, W missing, int64_t first, int64_t n, W* to) const {
        const W* each = channels.as<W>();
        const bool innermost = shape.channels_last || shape.pixels == 1;
        const int64_t period = innermost ? shape.channels : shape.pixels;
        int64_t place = first % period, channel = first / period % shape.channels;
        for (int64_t done = 0, run; done < n; done += run) {
            run = std::min(n - done, period - place);
            if (!channels.given()) {
                std::fill(to + done, to + done + run, missing);
            } else if (innermost) {
                std::copy(each + place, each + place + run, to + done);
            } else {
                std::fill(to + done, to + done + run, each[channel]);
            }
            place = 0;
            channel = channel + 1 == shape.channels ? 0 : channel + 1;
        }
    }

    // Values of neurons [first, first + n) at a time step, where they are or in `buffer`.
    template <class W>
    const W* read(int64_t t, int64_t first, int64_t n, W* buffer) const {
        if (values.type != BYTE) return values.as<W>(t * step + first);
        const uint8_t* bytes = values.as<uint8_t>();
        for (int64_t done = 0; done < n;) {  // element e is bit e / size of byte e % size
            const int64_t e = t * shape.number + shape.logical(first + done);
            const int64_t k = e / shape.size, at = e % shape.size;
            const int64_t run = shape.channels_last ? 1 : std::min(n - done, shape.size - at);
#pragma omp simd
            for (int64_t i = 0; i < run; i++) buffer[done + i] = W(bytes[at + i] >> k & 1);
            done += run;
        }
        return buffer;
    }
};

template <class W>
NOINLINE void scaled(const W* __restrict__ x, const W* __restrict__ scale,
                     const W* __restrict__ shift, int64_t n, W* __restrict__ to) {
    for (int64_t i = 0; i < n; i++) to[i] = x[i] * scale[i] + shift[i];
}

template <class W>
NOINLINE void add_scaled(const W* __restrict__ x, const W* __restrict__ scale,
                         const W* __restrict__ shift, int64_t n, W* __restrict__ to) {
    for (int64_t i = 0; i < n; i++) to[i] += x[i] * scale[i] + shift[i];
}

// The current of a block of neurons, step by step.
template <class W>
struct Currents {
    const Term &a, &b;
    int64_t first, n;
    alignas(64) W a_scale[BLOCK], a_shift[BLOCK], b_scale[BLOCK], b_shift[BLOCK];
    alignas(64) W a_bits[BLOCK], b_bits[BLOCK];

    Currents(const Term& a, const Term& b, int64_t first, int64_t n)
        : a(a), b(b), first(first), n(n) {
        a.factors<W>(first, n, a_scale, a_shift);
        if (b.values.given()) b.factors<W>(first, n, b_scale, b_shift);
    }

    // Write those of a time step.
    void at(int64_t t, W* __restrict__ now) {
        const W* x = a.read<W>(t, first, n, a_bits);
        scaled(x, a_scale, a_shift, n, now);
        if (!b.values.given()) return;
        const W* y = b.read<W>(t, first, n, b_bits);
        add_scaled(y, b_scale, b_shift, n, now);
    }
};

template <class W>
void forward(Lif<W> lif, const Term& a, const Term& b, const Memory& out, int64_t threads) {
    const Shape& shape = a.shape;
    blocks(shape.number, threads, [=](int64_t first, int64_t n) {
        Currents<W> currents(a, b, first, n);
        alignas(64) W left[BLOCK] = {}, now[BLOCK], u[BLOCK];
        for (int64_t t = 0; t < shape.timesteps; t++) {
            W* s = out.as<W>(t * shape.number + first);
            currents.at(t, now);
            lif.charge(now, n, left, u, s);
        }
    });
}

template <class W>
void backward(Lif<W> lif, const Term& a, const Term& b, const Memory& grad, int64_t step,
              const Memory& out, int64_t threads) {
    const Shape& shape = a.shape;
    blocks(shape.number, threads, [=](int64_t first, int64_t n) {
        Currents<W> currents(a, b, first, n);
        alignas(64) W left[BLOCK] = {}, later[BLOCK] = {}, now[BLOCK], s[BLOCK], h[BLOCK];
        for (int64_t t = 0; t < shape.timesteps; t++) {
            W* u = out.as<W>(t * shape.number + first);
            currents.at(t, now);
            lif.charge(now, n, left, u, s);
        }
        for (int64_t t = shape.timesteps - 1; t >= 0; t--) {
            W* u = out.as<W>(t * shape.number + first);
            const W* d = grad.as<W>(t * step + first);
            lif.slopes(u, n, h);
            lif.adjoint(d, u, h, n, later, u);
        }
    });
}

}  // namespace

extern "C" {

const char* ratebp_lif_spikes_of(Constants constants, Memory a, Memory a_weight, Memory a_bias,
                                 int64_t a_step, Memory b, Memory b_weight, Memory b_bias,
                                 int64_t b_step, int64_t channels, int64_t pixels,
                                 int64_t channels_last, int64_t size, int64_t timesteps,
                                 int64_t number, Memory out, int64_t threads) {
    const Shape shape{channels, pixels, channels_last, size, timesteps, number};
    const Term first{a, a_weight, a_bias, a_step, shape}, second{b, b_weight, b_bias, b_step, shape};
    REQUIRE(constants.legal());
    REQUIRE(shape.legal());
    REQUIRE(out.wide() && out.holds(product(timesteps, number)));
    REQUIRE(first.holds(out));
    REQUIRE(!b.given() || second.holds(out));
    in_type_of(out, [&](auto w) {
        forward(Lif<decltype(w)>(constants), first, second, out, threads);
    });
    return nullptr;
}

const char* ratebp_lif_recomputed_backward(Constants constants, Memory a, Memory a_weight,
                                           Memory a_bias, int64_t a_step, Memory b,
                                           Memory b_weight, Memory b_bias, int64_t b_step,
                                           int64_t channels, int64_t pixels, int64_t channels_last,
                                           int64_t size, int64_t timesteps, int64_t number,
                                           Memory grad, int64_t step, Memory out,
                                           int64_t threads) {
    const Shape shape{channels, pixels, channels_last, size, timesteps, number};
    const Term first{a, a_weight, a_bias, a_step, shape}, second{b, b_weight, b_bias, b_step, shape};
    REQUIRE(constants.legal());
    REQUIRE(shape.legal());
    REQUIRE(out.wide() && out.holds(product(timesteps, number)));
    REQUIRE(first.holds(out));
    REQUIRE(!b.given() || second.holds(out));
    REQUIRE(grad.type == out.type && grad.holds(number, timesteps, step));
    in_type_of(out, [&](auto w) {
        backward(Lif<decltype(w)>(constants), first, second, grad, step, out, threads);
    });
    return nullptr;
}

}  // extern "C"
