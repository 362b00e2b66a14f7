// Bit packing and unpacking: element e of n bytes' worth is bit e / n of byte e % n.
#include "kernels.h"

using namespace ratebp;

namespace {

void pack(const Memory& spikes, const Memory& bits, int64_t elements, int64_t number,
          int64_t threads) {
    blocks(number, threads, [=](int64_t first, int64_t n) {
        alignas(64) float converted[BLOCK];
        uint8_t* byte = bits.as<uint8_t>() + first;
        std::fill(byte, byte + n, uint8_t(0));
        for (int64_t k = 0; k < 8; k++) {
            const int64_t at = k * number + first, inside = std::min(n, elements - at);
            if (inside <= 0) break;
            const float* s = spikes.read<float>(at, inside, converted);
#pragma omp simd
            for (int64_t i = 0; i < inside; i++) byte[i] |= uint8_t(s[i] != 0) << k;
        }
    });
}

NOINLINE void bit(const uint8_t* __restrict__ byte, int64_t n, int64_t k, float* __restrict__ s) {
    const uint8_t mask = uint8_t(1 << k);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) s[i] = byte[i] & mask ? 1.0f : 0.0f;
}

// Bit by bit, so that what is written follows what was written before.
void unpack(const Memory& bits, const Memory& spikes, int64_t elements, int64_t number,
            int64_t threads) {
    blocks(elements, threads, [=](int64_t first, int64_t n) {
        alignas(64) float narrow[BLOCK];
        float* s = spikes.slot<float>(first, narrow);
        for (int64_t done = 0; done < n;) {
            const int64_t k = (first + done) / number, place = (first + done) % number;
            const int64_t run = std::min(n - done, number - place);
            bit(bits.as<uint8_t>() + place, run, k, s + done);
            done += run;
        }
        spikes.written<float>(s, first, n);
    });
}

}  // namespace

extern "C" {

const char* ratebp_pack(Memory spikes, Memory bits, int64_t elements, int64_t number,
                        int64_t threads) {
    REQUIRE(number >= 0 && elements <= product(number, 8));
    REQUIRE(spikes.holds(elements));
    REQUIRE(bits.type == BYTE && bits.holds(number));
    pack(spikes, bits, elements, number, threads);
    return nullptr;
}

const char* ratebp_unpack(Memory bits, Memory spikes, int64_t elements, int64_t number,
                          int64_t threads) {
    REQUIRE(number >= 0 && elements <= product(number, 8));
    REQUIRE(bits.type == BYTE && bits.holds(number));
    REQUIRE(spikes.holds(elements));
    unpack(bits, spikes, elements, number, threads);
    return nullptr;
}

}  // extern "C"
