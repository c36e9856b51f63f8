// SPDX-License-Identifier: Apache-2.0
package dev.merapi.backend;

/**
 * What a backend offers whose devices can record their work and repeat it in one call. Graphs and streams are handles of
 * the backend's; stream 0 is a device's own.
 */
public interface Graphs {
    /**
     * From now on, work given to the stream is recorded and not done.
     *
     * @param device its index
     * @param stream handle of one that was made for it
     */
    void begin(int device, long stream);

    /**
     * Ends that; the graph is ready to be launched.
     *
     * @param device its index
     * @param stream as at the beginning
     * @return handle of the graph
     */
    long end(int device, long stream);

    /**
     * How many pieces of work a graph consists of: kernels, copies, fills.
     *
     * @param device its index
     * @param graph its handle
     * @return a count
     */
    long nodes(int device, long graph);

    /**
     * Does all that was recorded, in the order of the stream; returns before it is done.
     *
     * @param device its index
     * @param graph its handle
     * @param stream handle; 0 for the device's own
     */
    void launch(int device, long graph, long stream);

    /**
     * Frees a graph, which no launch uses any more.
     *
     * @param device its index
     * @param graph its handle
     */
    void destroy(int device, long graph);
}
