// Dispatch grids end at 65,535 workgroups per dimension, so a linear grid is folded over x and y; z counts batches.

/// The index of this workgroup in the linear grid.
fn linear_workgroup(workgroup_id: vec3<u32>, num_workgroups: vec3<u32>) -> u32 {
    return workgroup_id.x + workgroup_id.y * num_workgroups.x;
}
