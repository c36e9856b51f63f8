// SPDX-License-Identifier: Apache-2.0
package dev.merapi.backend;

/**
 * What a backend offers whose devices work on several streams. Streams and events are handles of the backend's; stream 0
 * is a device's own.
 */
public interface Streams {
    /**
     * A new stream.
     *
     * @param device its index
     * @return its handle, not 0
     */
    long create(int device);

    /**
     * Frees a stream whose work is done.
     *
     * @param device its index
     * @param stream its handle
     */
    void destroy(int device, long stream);

    /**
     * Waits until all work of a stream is done.
     *
     * @param device its index
     * @param stream handle; 0 for the device's own
     */
    void synchronize(int device, long stream);

    /**
     * A new event, which stands for nothing yet.
     *
     * @param device its index
     * @return its handle
     */
    long createEvent(int device);

    /**
     * Frees an event; streams that wait for it still do.
     *
     * @param device its index
     * @param event its handle
     */
    void destroyEvent(int device, long event);

    /**
     * The event stands for all work that the stream was given so far.
     *
     * @param device its index
     * @param event its handle
     * @param stream handle; 0 for the device's own
     */
    void record(int device, long event, long stream);

    /**
     * Returns when all is done that the event stands for; what the stream was given later is not waited for.
     *
     * @param device its index
     * @param event its handle
     */
    void synchronizeEvent(int device, long event);

    /**
     * Work given to the stream from now on waits for what the event stands for.
     *
     * @param device its index
     * @param stream handle; 0 for the device's own
     * @param event its handle, which may be another device's of this kind
     */
    void await(int device, long stream, long event);
}
