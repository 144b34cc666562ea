// The Lagrange basis of D at r: lagrange[i] = eq_D(omega^i, r), i < 2^l_skip, r the challenge at word `challenge` of the transcript's tape
// and omega the generator of D.
//
// eq_D by l_skip doublings (upstream's eval_eq_uni), which needs no inverse. EF, one thread per i.
// Host reference: upstream's eval_eq_uni.
#import grid
#import rap/eq_uni
#import transcript/tape

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if i < (1u << params.l_skip) {
        lagrange[i] = eq_uni(params.l_skip, tape_ext(params.challenge), e_from_base(f_pow(params.omega, i)));
    }
}
