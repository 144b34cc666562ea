// What a dispatch that evaluates one program reads: its own tables. Its counterpart for work lists is constraints/list.wgsl.
//
// The frame declares `constants`, `weights` and, with INTERPRETED, `records`.
#import field/ext

fn constant(i: u32) -> u32 {
    return constants[i];
}

fn weight(k: u32) -> Ext {
    return weights[k];
}

#if INTERPRETED
fn record(k: u32) -> Record {
    return records[k];
}
#endif
