// What torch may ask of an op that has no answer to it. Torch by itself would answer with zeros or
// with an internal error; these refuse in a sentence that names the op.
#pragma once

namespace elite_ops {

// Of every op: forward-mode derivatives, and torch.jit.trace.
void refuse_forward_mode_and_tracing();

// Of the ops that have no derivative registered when this is called: to be differentiated. So an
// op's backward that has no backward of its own can't pass for a constant.
void refuse_missing_derivatives();

}  // namespace elite_ops
