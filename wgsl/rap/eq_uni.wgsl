// eq_D(x, y), the kernel polynomial of the skip domain D of 2^l_skip elements: for y in D the Lagrange basis polynomial of y at x.
// Host reference: upstream's eval_eq_uni.
#import field/ext

fn eq_uni(l_skip: u32, x: Ext, y: Ext) -> Ext {
    var result = E_ONE;
    var x_pow = x;
    var y_pow = y;
    for (var k = 0u; k < l_skip; k++) {
        let product = e_mul(e_sub(x_pow, E_ONE), e_sub(y_pow, E_ONE));
        result = e_add(e_mul(e_add(x_pow, y_pow), result), product);
        x_pow = e_square(x_pow);
        y_pow = e_square(y_pow);
    }
    return vec4<u32>(
        f_div_2exp(result.x, l_skip),
        f_div_2exp(result.y, l_skip),
        f_div_2exp(result.z, l_skip),
        f_div_2exp(result.w, l_skip),
    );
}
