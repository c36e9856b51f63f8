// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import org.jspecify.annotations.Nullable;

/**
 * The seam: what the backend needs of CUDA, or of a runtime like it. A GPU implements it with a driver and NVRTC, the
 * simulator with the host's compiler; nothing above knows which. {@code backend.KernelBackend} makes a kind of device of it.
 *
 * <p>Addresses are device addresses; streams, events, modules, functions and graphs are handles, of which none is 0; stream
 * 0 is the device's compute stream. Methods that take a stream return before the work is done. All of them may be called by
 * any thread.
 *
 * <p>Kernels are CUDA C++, see {@link KernelSource}. How they are compiled, to what, and where that is kept, is the
 * runtime's own affair: one for other hardware puts definitions of its own before the text.
 */
public interface CudaRuntime {
    /**
     * Kernels exchange values, {@code __shfl_xor_sync} and the like, within groups of so many neighbouring threads, and
     * their masks have so many bits. Where warps are wider, as AMD's of 64, several groups share one: the runtime's
     * definitions confine each exchange to its group.
     */
    int GROUP = 32;

    /**
     * What a device is.
     *
     * @param architecture what the runtime compiles for, such as {@code sm_90} or {@code gfx90a}; for people
     * @param multiprocessors how many there are, each of which runs several blocks at a time
     * @param warp threads that go in step, a multiple of {@link #GROUP}
     * @param mma whether the instructions that {@code mma.cuh} writes are there: NVIDIA's since compute capability 8.0
     * @param memory all of its memory, in bytes
     */
    record Properties(String name, String architecture, int multiprocessors, int warp, boolean mma, long memory) {
        /** {@code NVIDIA H100 (sm_90, 79 GiB)} */
        public String describe() {
            return name + " (" + architecture + ", " + (memory >> 30) + " GiB)";
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
     * Compiles a source for a device, unless that was done before, and loads it.
     *
     * @return the module
     * @throws KernelCompileException with the compiler's messages
     */
    long load(int device, KernelSource source);

    /**
     * Loads an image that was compiled elsewhere, in the runtime's own format.
     *
     * @param op what it is for; for messages
     * @return the module
     * @throws CudaException if this runtime cannot run it
     */
    long load(int device, String op, byte[] image);

    /** Whether each entry of a source is compiled when it is asked for; else all of them are, with the first. */
    default boolean compilesApart() {
        return false;
    }

    /** The function of that name in a module. */
    long function(long module, String name);

    /** Ends a module, of which nothing will be launched any more; what was launched is waited for. */
    void unload(long module);

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
