/* Capturing the work of streams, and launching it again. */
#ifndef LAM_CUDA_EMULATOR_GRAPHS_H
#define LAM_CUDA_EMULATOR_GRAPHS_H

#include "cuda_emulator/streams.h"

namespace emulator {

bool is_capturing(stream *s);

/* Queued work becomes a node. */
cudaError_t capture_work(stream *s, const char *name, const std::vector<allocation *> &uses,
                         const hidden_ref<const function> &run);
/* A recorded event becomes a mark of the capture, if the stream is captured; else none. */
hidden_ref<capture> capture_mark(stream *s, int *mark);
/* The stream waits for a mark; if it is not captured yet, it is from here on. */
cudaError_t capture_wait(stream *s, const hidden_ref<capture> &captured, int mark);

/* Makes the stream's capture fail. False: it is not captured. */
bool break_capture_of(stream *s);
/* The same for all captures that a call of this thread is not safe in. */
bool break_captures();

} // namespace emulator

#endif
