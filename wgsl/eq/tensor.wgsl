// An entry of a tensor product of pairs: prod_{i < n} (bit i of y ? x_i : a(x_i)) for the coordinates x_i = coordinates[first + i], with
// a = 1 - x (equality polynomial) or 1 (monomials; powers of x_0 where x_{i+1} = x_i^2). n products.
//
// The importer declares `coordinates: array<vec4<u32>>`.
#import field/ext

/// `factors`: kernels::eq::Factors in order.
const EQ: u32 = 0u;
const MONOMIAL: u32 = 1u;

fn tensor_entry(first: u32, n: u32, y: u32, factors: u32) -> Ext {
    var product = E_ONE;
    for (var i = 0u; i < n; i++) {
        let x = coordinates[first + i];
        var factor = x;
        if ((y >> i) & 1u) == 0u {
            factor = e_sub(E_ONE, x);
            if factors == MONOMIAL {
                factor = E_ONE;
            }
        }
        product = e_mul(product, factor);
    }
    return product;
}
