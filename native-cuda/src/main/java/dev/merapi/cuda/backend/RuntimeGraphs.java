// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.backend.Graphs;
import dev.merapi.cuda.runtime.CudaRuntime;

/** The runtime's graphs, as the engine asks for them. */
record RuntimeGraphs(CudaRuntime runtime) implements Graphs {
    @Override
    public void begin(int device, long stream) {
        runtime.beginCapture(device, stream);
    }

    @Override
    public long end(int device, long stream) {
        return runtime.endCapture(device, stream);
    }

    @Override
    public long nodes(int device, long graph) {
        return runtime.nodes(device, graph);
    }

    @Override
    public void launch(int device, long graph, long stream) {
        runtime.launchGraph(device, graph, stream);
    }

    @Override
    public void destroy(int device, long graph) {
        runtime.destroyGraph(device, graph);
    }
}
