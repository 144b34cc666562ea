// The trace of SHA512: a row for each instruction.
//
// One thread a row (openvm/row.wgsl).
#import openvm/sha2/main_row
#import openvm/sha2/word64

#interface
