// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.backend.Streams;
import dev.merapi.cuda.runtime.CudaRuntime;

/** The runtime's streams and events, as the engine asks for them. */
record RuntimeStreams(CudaRuntime runtime) implements Streams {
    @Override
    public long create(int device) {
        return runtime.createStream(device);
    }

    @Override
    public void destroy(int device, long stream) {
        runtime.destroyStream(device, stream);
    }

    @Override
    public void synchronize(int device, long stream) {
        runtime.synchronizeStream(device, stream);
    }

    @Override
    public long createEvent(int device) {
        return runtime.createEvent(device);
    }

    @Override
    public void destroyEvent(int device, long event) {
        runtime.destroyEvent(device, event);
    }

    @Override
    public void record(int device, long event, long stream) {
        runtime.record(device, event, stream);
    }

    @Override
    public void synchronizeEvent(int device, long event) {
        runtime.synchronizeEvent(device, event);
    }

    @Override
    public void await(int device, long stream, long event) {
        runtime.await(device, stream, event);
    }
}
