// The LIF scan: a block of neurons runs through all its steps, its potential in the cache.
#include "kernels.h"

using namespace ratebp;

namespace {

template <class W>
void forward(Lif<W> lif, const Memory& current, int64_t step, const Memory& spikes,
             const Memory& potentials, int64_t timesteps, int64_t number, int64_t threads) {
    blocks(number, threads, [=](int64_t first, int64_t n) {
        alignas(64) W left[BLOCK] = {}, unkept[BLOCK], converted[BLOCK], fired[BLOCK];
        for (int64_t t = 0; t < timesteps; t++) {
            const W* now = current.read<W>(t * step + first, n, converted);
            W* s = spikes.slot<W>(t * number + first, fired);
            W* u = potentials.given() ? potentials.as<W>(t * number + first) : unkept;
            lif.charge(now, n, left, u, s);
            spikes.written<W>(s, t * number + first, n);
        }
    });
}

template <class W>
void backward(Lif<W> lif, const Memory& potentials, const Memory& grad, int64_t step,
              const Memory& out, int64_t timesteps, int64_t number, int64_t threads) {
    blocks(number, threads, [=](int64_t first, int64_t n) {
        alignas(64) W later[BLOCK] = {}, h[BLOCK], converted[BLOCK], narrow[BLOCK];
        for (int64_t t = timesteps - 1; t >= 0; t--) {
            const W* u = potentials.as<W>(t * number + first);
            const W* d = grad.read<W>(t * step + first, n, converted);
            W* slot = out.slot<W>(t * number + first, narrow);
            lif.slopes(u, n, h);
            lif.adjoint(d, u, h, n, later, slot);
            out.written<W>(slot, t * number + first, n);
        }
    });
}

}  // namespace

extern "C" {

const char* ratebp_lif_scan(Constants constants, Memory current, int64_t step, Memory spikes,
                            Memory potentials, int64_t timesteps, int64_t number,
                            int64_t threads) {
    REQUIRE(constants.legal());
    REQUIRE(current.type != BYTE && current.holds(number, timesteps, step));
    REQUIRE(spikes.holds(product(timesteps, number)));
    REQUIRE(!potentials.given() || potentials.holds(product(timesteps, number)));
    REQUIRE(!potentials.given() ||
            potentials.type == (current.type == FLOAT64 ? FLOAT64 : FLOAT32));
    in_type_of(current, [&](auto w) {
        forward(Lif<decltype(w)>(constants), current, step, spikes, potentials, timesteps, number,
                threads);
    });
    return nullptr;
}

const char* ratebp_lif_scan_backward(Constants constants, Memory potentials, Memory grad,
                                     int64_t step, Memory out, int64_t timesteps, int64_t number,
                                     int64_t threads) {
    REQUIRE(constants.legal());
    REQUIRE(potentials.wide() && potentials.holds(product(timesteps, number)));
    REQUIRE(grad.type != BYTE && grad.holds(number, timesteps, step));
    REQUIRE(out.holds(product(timesteps, number)));
    in_type_of(potentials, [&](auto w) {
        backward(Lif<decltype(w)>(constants), potentials, grad, step, out, timesteps, number,
                 threads);
    });
    return nullptr;
}

}  // extern "C"
