// LIF with rate statistics: a block of neurons runs through all its steps, its state in the cache.
#include "kernels.h"

using namespace ratebp;

namespace {

template <class W>
NOINLINE void add(const W* __restrict__ s, int64_t n, W* __restrict__ total) {
    for (int64_t i = 0; i < n; i++) total[i] += s[i];
}

template <class W, class J>
NOINLINE void accumulate_by(J jacobian, const W* __restrict__ u, const W* __restrict__ h, int64_t n,
                            W* __restrict__ g, W* __restrict__ rho) {
    for (int64_t i = 0; i < n; i++) {
        g[i] += h[i] * rho[i];
        rho[i] = rho[i] * jacobian(u[i], h[i]) + 1;
    }
}

// g += h rho and rho = 1 + rho d u[t+1] / d u[t], for a block.
template <class W>
void accumulate(const Lif<W>& lif, const W* u, const W* h, int64_t n, W* g, W* rho) {
    lif.with_jacobian([=](auto jacobian) { accumulate_by(jacobian, u, h, n, g, rho); });
}

template <class W>
void scan(Lif<W> lif, const Memory& current, int64_t step, const Memory& spikes,
          const Memory& count, const Memory& eligibility, int64_t timesteps, int64_t number,
          int64_t threads) {
    blocks(number, threads, [=](int64_t first, int64_t n) {
        alignas(64) W left[BLOCK] = {}, total[BLOCK] = {}, rho[BLOCK], u[BLOCK], h[BLOCK];
        alignas(64) W converted[BLOCK], fired[BLOCK];
        W* g = eligibility.as<W>(first);
        std::fill(g, g + n, W(0));
        std::fill(rho, rho + n, W(1));
        for (int64_t t = 0; t < timesteps; t++) {
            const W* now = current.read<W>(t * step + first, n, converted);
            W* s = spikes.slot<W>(t * number + first, fired);
            lif.charge(now, n, left, u, s);
            add(s, n, total);
            spikes.written<W>(s, t * number + first, n);
            lif.slopes(u, n, h);
            accumulate(lif, u, h, n, g, rho);
        }
        count.store<W>(total, first, n);
    });
}

template <class W>
void advance(Lif<W> lif, const Memory& current, const Memory& potential, const Memory& count,
             const Memory& eligibility, const Memory& rho, bool plain, const Memory& fired,
             int64_t number, int64_t threads) {
    blocks(number, threads, [=](int64_t first, int64_t n) {
        alignas(64) W u[BLOCK], h[BLOCK], s[BLOCK], total[BLOCK], converted[BLOCK], counted[BLOCK];
        const W* now = current.read<W>(first, n, converted);
        const W* before = count.read<W>(first, n, counted);
        W *left = potential.as<W>(first), *g = eligibility.as<W>(first);
        lif.charge(now, n, left, u, s);
        std::copy(before, before + n, total);
        add(s, n, total);
        fired.store<W>(s, first, n);
        count.store<W>(total, first, n);
        lif.slopes(u, n, h);
        if (plain) {  // a number, which the caller advances
            const W weight = *rho.as<W>();
#pragma omp simd
            for (int64_t i = 0; i < n; i++) g[i] += h[i] * weight;
        } else {
            accumulate(lif, u, h, n, g, rho.as<W>(first));
        }
    });
}

}  // namespace

extern "C" {

const char* ratebp_rate_scan(Constants constants, Memory current, int64_t step, Memory spikes,
                             Memory count, Memory eligibility, int64_t timesteps, int64_t number,
                             int64_t threads) {
    REQUIRE(constants.legal());
    REQUIRE(current.type != BYTE && current.holds(number, timesteps, step));
    REQUIRE(spikes.holds(product(timesteps, number)));
    REQUIRE(count.holds(number) && (count.type != BYTE || timesteps <= 255));
    REQUIRE(eligibility.wide() && eligibility.holds(number));
    in_type_of(eligibility, [&](auto w) {
        scan(Lif<decltype(w)>(constants), current, step, spikes, count, eligibility, timesteps,
             number, threads);
    });
    return nullptr;
}

const char* ratebp_rate_advance(Constants constants, Memory current, Memory potential,
                                Memory count, Memory eligibility, Memory rho, int64_t plain,
                                Memory fired, int64_t number, int64_t threads) {
    REQUIRE(constants.legal());
    REQUIRE(current.holds(number));
    REQUIRE(potential.wide() && potential.holds(number));
    REQUIRE(count.holds(number));
    REQUIRE(eligibility.type == potential.type && eligibility.holds(number));
    REQUIRE(rho.type == potential.type && rho.holds(plain ? 1 : number));
    REQUIRE(fired.holds(number));
    in_type_of(potential, [&](auto w) {
        advance(Lif<decltype(w)>(constants), current, potential, count, eligibility, rho, plain,
                fired, number, threads);
    });
    return nullptr;
}

}  // extern "C"
