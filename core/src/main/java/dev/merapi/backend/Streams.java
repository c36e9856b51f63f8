// SPDX-License-Identifier: Apache-2.0
package dev.merapi.backend;

/**
 * What a backend offers whose devices work on several streams. Streams and events are handles of the backend's; stream 0
 * is a device's own.
 */
public interface Streams {
    long create(int device);

    void destroy(int device, long stream);

    /** Waits until all work of a stream is done. */
    void synchronize(int device, long stream);

    long createEvent(int device);

    void destroyEvent(int device, long event);

    /** The event stands for all work that the stream was given so far. */
    void record(int device, long event, long stream);

    /** Returns when all is done that the event stands for; what the stream was given later is not waited for. */
    void synchronizeEvent(int device, long event);

    /** Work given to the stream from now on waits for what the event stands for. */
    void await(int device, long stream, long event);
}
