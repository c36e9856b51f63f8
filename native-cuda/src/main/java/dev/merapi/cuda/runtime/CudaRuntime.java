// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * The seam: what the backend needs of CUDA. A GPU implements it with a driver and NVRTC, {@code SimulatedCuda} with the
 * host's compiler; nothing above knows which. Addresses are device addresses, streams and functions are handles; stream 0
 * is the device's compute stream. Methods that take a stream return before the work is done.
 */
public interface CudaRuntime {
    /**
     * What a device is.
     *
     * @param architecture compute capability as 10 · major + minor
     */
    record Properties(String name, int architecture, int multiprocessors, long memory) {
        /** {@code NVIDIA H100 (sm_90, 79 GiB)} */
        public String describe() {
            return name + " (sm_" + architecture + ", " + (memory >> 30) + " GiB)";
        }
    }

    /** Blocks, threads of each, and bytes of dynamic shared memory. */
    record Grid(long x, long y, long z, int blockX, int blockY, int blockZ, int sharedBytes) {
        public static Grid of(long blocks, int threads) {
            return new Grid(blocks, 1, 1, threads, 1, 1, 0);
        }

        /** Two facts for a message, a line each. */
        public String facts() {
            return "\n  grid: (" + x + ", " + y + ", " + z + ")\n  block: (" + blockX + ", " + blockY + ", " + blockZ
                    + ")" + (sharedBytes == 0 ? "" : " with " + sharedBytes + " bytes of dynamic shared memory");
        }
    }

    String description();

    int deviceCount();

    Properties properties(int device);

    // ---- memory ----

    /** Device memory, aligned to 256 bytes; 0 if there is none. */
    long allocate(int device, long bytes);

    void free(int device, long address);

    /** How much of a device's memory tensors may take unless somebody says otherwise. */
    default long defaultCap(int device) {
        return properties(device).memory() / 4 * 3;
    }

    /** From the host's memory, which may be used again when this returns; arrives in the order of the stream. */
    void upload(int device, long stream, long target, long host, long bytes);

    /** To the host's memory, after all that was given to the stream; it is there when this returns. */
    void download(int device, long stream, long host, long source, long bytes);

    void copy(int device, long stream, long target, long source, long bytes);

    /**
     * From one device to another: after all that both streams were given, and what they are given from now on comes after
     * it. So the memory at both ends is safe in the order of its own device's stream.
     */
    void copy(int device, long stream, long target, int sourceDevice, long sourceStream, long source, long bytes);

    void fill(int device, long stream, long target, int value, long bytes);

    // ---- streams ----

    long createStream(int device);

    void destroyStream(int device, long stream);

    long createEvent(int device);

    void destroyEvent(int device, long event);

    void record(int device, long event, long stream);

    /** Work given to the stream from now on waits for what the event recorded. */
    void await(int device, long stream, long event);

    /** Returns when the work is done that the event recorded; later work is not waited for. */
    void synchronizeEvent(int device, long event);

    void synchronizeStream(int device, long stream);

    /** Returns when all is done that the streams of a device were given, but for those that are being captured. */
    void synchronize(int device);

    // ---- kernels ----

    /** How many bytes of arguments a kernel may have. */
    default int argumentBytes(int device) {
        return 32_764;
    }

    /**
     * Compiles a source for a device.
     *
     * @return the image, in the disk cache
     * @throws KernelCompileException with the compiler's messages
     */
    Path compile(int device, KernelSource source);

    /** Whether each entry of a source is compiled when it is asked for; else all of them are, with the first. */
    default boolean compilesApart() {
        return false;
    }

    /**
     * Keeps an image that was compiled elsewhere where {@link #load} finds it.
     *
     * @param op what it is for; for messages
     * @throws CudaException if this runtime cannot run compiled images
     */
    Path keep(String op, byte[] image);

    /** Loads an image; it stays loaded for the life of the process. */
    long load(int device, Path image);

    /** The function of that name in a loaded image. */
    long function(long module, String name);

    /** Whether launches are checked, so that arguments should say what the kernel may use. */
    default boolean checks() {
        return false;
    }

    /** Whether a launch returns when the kernel is over, except during a capture. */
    boolean waits();

    /**
     * Where kernels of a device report indices that are out of range. Launches, and whatever waits for the device, throw
     * what was reported.
     */
    IndexFaults faults(int device);

    /**
     * Launches a kernel; the arguments may be used again when this returns.
     *
     * @param op what it is launched for; for messages
     * @throws CudaException naming the op, the kernel and the grid
     */
    void launch(int device, long stream, String op, long function, Grid grid, Arguments arguments);

    /** The library that multiplies matrices on a device; null if there is none, and our own kernels do it. */
    default @Nullable Blas blas(int device) {
        return null;
    }

    /** Whether there is such a library; begins no device. */
    default boolean hasBlas() {
        return false;
    }

    // ---- graphs ----

    /** From now on, work given to the stream is recorded and not done. */
    void beginCapture(int device, long stream);

    /** Ends that; returns the graph. */
    long endCapture(int device, long stream);

    /** How many kernels, copies and fills a graph consists of. */
    long nodes(int device, long graph);

    void launchGraph(int device, long graph, long stream);

    void destroyGraph(int device, long graph);
}
