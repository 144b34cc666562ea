// The coefficient of a term of the weight after a WHIR round: its moments, folded by the round's last challenge.
//
// A kernel that imports this declares `last_table: array<vec4<u32>>`: 2 rows coefficients of f, then 2 rows moments.
#import transcript/tape

fn term_coefficient(rows: u32, row: u32, alpha_word: u32) -> Ext {
    let m0 = last_table[2u * (rows + row)];
    let m1 = last_table[2u * (rows + row) + 1u];
    let difference = e_sub(m0, m1);
    return e_add(difference, e_mul(e_sub(m1, difference), tape_ext(alpha_word)));
}
