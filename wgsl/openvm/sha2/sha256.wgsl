// The trace of SHA256: a row for each instruction.
//
// One thread a row (openvm/row.wgsl).
#import openvm/sha2/main_row
#import openvm/sha2/word32

#interface
