// Bit packing and unpacking: element e of n bytes' worth is bit e / n of byte e % n.
#include "native.h"

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

void unpack(const Memory& bits, const Memory& spikes, int64_t elements, int64_t number,
            int64_t threads) {
    blocks(number, threads, [=](int64_t first, int64_t n) {
        alignas(64) float narrow[BLOCK];
        const uint8_t* byte = bits.as<uint8_t>() + first;
        for (int64_t k = 0; k < 8; k++) {
            const int64_t at = k * number + first, inside = std::min(n, elements - at);
            if (inside <= 0) break;
            float* s = spikes.slot<float>(at, narrow);
#pragma omp simd
            for (int64_t i = 0; i < inside; i++) s[i] = byte[i] >> k & 1;
            spikes.written<float>(s, at, inside);
        }
    });
}

}  // namespace

extern "C" {

void ratebp_pack(Memory spikes, Memory bits, int64_t elements, int64_t number, int64_t threads) {
    pack(spikes, bits, elements, number, threads);
}

void ratebp_unpack(Memory bits, Memory spikes, int64_t elements, int64_t number, int64_t threads) {
    unpack(bits, spikes, elements, number, threads);
}

}  // extern "C"
