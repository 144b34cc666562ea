// The challenges of GKR on the device, extension elements (kernels::gkr::GkrState): lambda, the eq prefix, the last window's (r_0, r_1); two points of
// 32 coordinates, of which layer j reads the one at point_at(j) and writes the other; then the denominators of padding: alpha^(2^k), that of
// a node k levels above leaves which are all 0 / alpha.
const LAMBDA: u32 = 0u;
const PREFIX: u32 = 1u;
const R_0: u32 = 2u;
const R_1: u32 = 3u;
const POINTS: u32 = 4u;
const MAX_VARS: u32 = 32u;
const PADDING: u32 = 68u;
const STATE: u32 = 101u;

fn point_at(layer: u32) -> u32 {
    return POINTS + MAX_VARS * (layer & 1u);
}
