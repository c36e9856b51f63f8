// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.host;

import dev.merapi.cpu.NativeLibrary;
import java.nio.ByteBuffer;
import org.bytedeco.javacpp.annotation.Namespace;
import org.bytedeco.javacpp.annotation.NoException;
import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Raw;

/** Our own native functions; {@code merapi_cuda.h} holds the contract of each. Links to nothing of CUDA. */
@Platform(
        include = {"merapi_cuda.h", "jni_buffers.h"},
        library = CudaNative.LIBRARY)
@Namespace("merapi::abi")
@NoException
public final class CudaNative {
    static final String LIBRARY = "merapi_cuda";

    static {
        NativeLibrary.load(CudaNative.class, LIBRARY);
    }

    private CudaNative() {}

    /** Memory as a buffer, in the order of bytes that Java has by default. */
    public static @Raw(withEnv = true) native ByteBuffer buffer_at(long address, long bytes);

    public static native long address_of(@Raw(withEnv = true) ByteBuffer buffer);

    public static native int driver_devices();

    public static native int driver_version();

    public static native int driver_open(long functions, int ordinal, long result, long name, int capacity);

    public static native void driver_error(long functions, int error, long text, long capacity);

    public static native int driver_use(long functions, long context);

    public static native int driver_reach(long functions, long context, int ordinal, long peerContext, int peerOrdinal);

    public static native int driver_allocate(long functions, long context, long bytes, long result);

    public static native int driver_free(long functions, long context, long address);

    public static native int driver_host_allocate(long functions, long context, long bytes, long result);

    public static native int driver_upload(
            long functions, long context, long stream, long target, long host, long bytes);

    public static native int driver_download(
            long functions, long context, long stream, long host, long source, long bytes);

    public static native int driver_copy(
            long functions, long context, long stream, long target, long source, long bytes);

    public static native int driver_copy_peer(
            long functions,
            long context,
            long stream,
            long target,
            long targetContext,
            long source,
            long sourceContext,
            long bytes);

    public static native int driver_fill(long functions, long context, long stream, long target, int value, long bytes);

    public static native int driver_stream_create(long functions, long context, long result);

    public static native int driver_stream_destroy(long functions, long context, long stream);

    public static native int driver_stream_synchronize(long functions, long context, long stream);

    public static native int driver_event_create(long functions, long context, long result);

    public static native int driver_event_destroy(long functions, long context, long event);

    public static native int driver_event_record(long functions, long context, long event, long stream);

    public static native int driver_event_await(long functions, long context, long stream, long event);

    public static native int driver_event_synchronize(long functions, long context, long event);

    public static native int driver_module(long functions, long context, long image, long result);

    public static native int driver_function(long functions, long context, long module, long name, long result);

    public static native int driver_module_unload(long functions, long context, long module);

    public static native int driver_shared(long functions, long context, long function, int bytes);

    public static native int driver_launch(
            long functions,
            long context,
            long stream,
            long function,
            long gridX,
            long gridY,
            long gridZ,
            int blockX,
            int blockY,
            int blockZ,
            int shared,
            long arguments);

    public static native double driver_launch_cost(long functions, long context, long stream, long function, int count);

    public static native int driver_capture_begin(long functions, long context, long stream);

    public static native int driver_capture_end(long functions, long context, long stream, long result);

    public static native int driver_graph_launch(long functions, long context, long graph, long stream);

    public static native int driver_graph_destroy(long functions, long context, long graph);

    public static native long library_open(long path, long error, long capacity);

    public static native long library_symbol(long library, long name);

    public static native void library_close(long library);

    public static native void library_place(long address, long text, long capacity);

    public static native long memory_allocate(long bytes);

    public static native void memory_free(long address);

    public static native void memory_copy(long target, long source, long bytes);

    public static native void memory_fill(long target, int value, long bytes);

    public static native long memory_limit();

    public static native int simulator_launch(long launch, long error, long capacity);

    public static native int nvrtc_describe(long functions, long result, int most);

    public static native int nvrtc_compile(
            long functions, long source, long name, long options, int count, int ptx, long result);

    public static native long blas_version(long functions);

    public static native int blas_create(long functions, long result);

    public static native int blas_plan(long functions, long handle, long problem, long result);

    public static native long blas_choose(long plan, int candidate);

    public static native void blas_forget(long functions, long plan);

    public static native int blas_run(
            long functions,
            long handle,
            long plan,
            long a,
            long b,
            long bias,
            long aux,
            long d,
            long workspace,
            long bytes,
            long stream);
}
