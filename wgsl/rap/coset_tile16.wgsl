// rap/coset_tile.wgsl for l_skip = 4 and, unless PACKED, at least four rows: the columns' values on the cosets g^1 D, .., g^cosets D of D, |D| = 16.
//
//   tile[tile_at(column, (x * cosets + j) * 16 + i)] = T(g^(j+1) omega^i, first_x + x),   x < xs, j < cosets, i < 16,
//
// where T(., x) is the polynomial of degree < 16 with the values of rows (first_x + x) * 16 + (0..16) of the (lifted) column on D.
// Columns: entries[start..start + count] as (source, tile column), see rap/columns.wgsl; the tile as rap/tile_at.wgsl lays it out.
//
// A workgroup of 256 threads takes 256 chunks of sixteen rows: 2^log_columns columns (block z of them) at 256 / 2^log_columns points.
// Each thread transforms one chunk in registers, as four vectors; workgroup memory brings the vectors of consecutive threads to
// consecutive places in memory. Only the forward DFT is used: of the values it gives 16 times the coefficients, of those (times
// scales[j][s] = g^((j+1) k) / 16 in slot s = -k mod 16) the values on the coset, both in the order of negative indices.
// Work: 1 + cosets DFTs and 16 * cosets products a chunk; 4 bytes in and 4 * cosets out a row.
// PACKED: tiles of many traces (rap/tile_job.wgsl), in whose jobs column blocks come one after the other.
// Host reference: p3's idft and coset_dft (kernels::rap::tile::tests).
#import grid
#import rap/tile_job
#import ntt/lazy

#interface

#if PACKED
#else
fn tile_job(workgroup: u32) -> TileJob {
    let p = params;
    let at = p.tile_at;
    return TileJob(0u, p.start, p.count, p.height, p.first_x, p.xs, p.columns, at, 0u, 0u, p.cosets, p.log_columns);
}
#endif

/// 256 chunks of four vectors.
var<workgroup> values: array<vec4<u32>, 1024>;

/// The place of vector i % 4 of chunk i / 4, against bank conflicts.
fn place(i: u32) -> u32 {
    return i ^ ((i >> 3u) & 3u);
}

#if PACKED
/// Row `row` of the lifted column `source` of a trace that is lower than the skip domain, so that its cells are apart.
fn low_row(job: TileJob, source: u32, row: u32) -> u32 {
    let kind = source >> 28u;
    let at = (row + select(0u, 1u, kind == 1u)) & (job.height - 1u);
    if kind <= 1u {
        let cell = job.segment_at + (((source & 0xfffffffu) * job.height + at) << job.log_stride);
        return segment[cell >> 2u][cell & 3u];
    }
    let edge = select(job.height - 1u, 0u, kind == 2u);
    return select(0u, F_ONE, (at == edge) != (kind == 3u));
}
#endif

/// Rows 4 v to 4 v + 3 of the lifted column `source`.
fn four_rows(job: TileJob, source: u32, v: u32) -> vec4<u32> {
    let kind = source >> 28u;
#if PACKED
    if job.height < 16u {
        return vec4<u32>(
            low_row(job, source, 4u * v),
            low_row(job, source, 4u * v + 1u),
            low_row(job, source, 4u * v + 2u),
            low_row(job, source, 4u * v + 3u),
        );
    }
#endif
    let vectors = job.height >> 2u;
    let at = v & (vectors - 1u);
    if kind <= 1u {
        let column = job.segment_at / 4u + (source & 0xfffffffu) * vectors;
        let rows = segment[column + at];
        if kind == 0u {
            return rows;
        }
        return vec4<u32>(rows.yzw, segment[column + ((v + 1u) & (vectors - 1u))].x);
    }
    let edge = select(job.height - 1u, 0u, kind == 2u);
    let on_edge = vec4<u32>(0u, 1u, 2u, 3u) + 4u * at == vec4<u32>(edge);
    return select(vec4<u32>(), vec4<u32>(F_ONE), on_edge != vec4<bool>(kind == 3u));
}

/// Slot i to slot -i mod 16, and canonical values.
fn negate_indices(x: Block) -> Block {
    let a = v_reduce(x.a);
    let b = v_reduce(x.b);
    let c = v_reduce(x.c);
    let d = v_reduce(x.d);
    return Block(
        vec4<u32>(a.x, d.w, d.z, d.y),
        vec4<u32>(d.x, c.w, c.z, c.y),
        vec4<u32>(c.x, b.w, b.z, b.y),
        vec4<u32>(b.x, a.w, a.z, a.y),
    );
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    let job = tile_job(workgroup);
    let log_xs = 8u - job.log_columns;
#if PACKED
    let blocks = ((job.rows - 1u) >> log_xs) + 1u;
    let first_x = ((workgroup - job.first_workgroup) % blocks) << log_xs;
    let first_entry = ((workgroup - job.first_workgroup) / blocks) << job.log_columns;
#else
    let first_x = workgroup << log_xs;
    let first_entry = workgroup_id.z << job.log_columns;
#endif
    for (var i = local; i < 1024u; i += 256u) {
        let x = first_x + ((i >> 2u) & ((1u << log_xs) - 1u));
        let k = first_entry + (i >> (2u + log_xs));
        var rows = vec4<u32>();
        if x < job.rows && k < job.count {
            rows = four_rows(job, entries[job.start + k].x, (job.first + x) * 4u + (i & 3u));
        }
        values[place(i)] = rows;
    }
    workgroupBarrier();
    let a = place(4u * local);
    let b = place(4u * local + 1u);
    let c = place(4u * local + 2u);
    let d = place(4u * local + 3u);
    let coefficients = dft16_lazy(Block(values[a], values[b], values[c], values[d]));
    for (var j = 0u; j < job.cosets; j++) {
        let scale = Block(scales[4u * j], scales[4u * j + 1u], scales[4u * j + 2u], scales[4u * j + 3u]);
        let y = negate_indices(dft16_lazy(block_mul(coefficients, scale)));
        values[a] = y.a;
        values[b] = y.b;
        values[c] = y.c;
        values[d] = y.d;
        workgroupBarrier();
        store_coset(job, j, first_x, first_entry, local);
        workgroupBarrier();
    }
}

/// The values on coset g^(j + 1) D, out of workgroup memory.
fn store_coset(job: TileJob, j: u32, first_x: u32, first_entry: u32, local: u32) {
    let log_xs = 8u - job.log_columns;
    for (var i = local; i < 1024u; i += 256u) {
        let x = first_x + ((i >> 2u) & ((1u << log_xs) - 1u));
        let k = first_entry + (i >> (2u + log_xs));
        if x < job.rows && k < job.count {
            let chunk = x * job.cosets + j;
            let block = (chunk >> 2u) * job.stride + entries[job.start + k].y;
            tile[job.tile_at / 4u + block * 16u + (chunk & 3u) * 4u + (i & 3u)] = values[place(i)];
        }
    }
}
