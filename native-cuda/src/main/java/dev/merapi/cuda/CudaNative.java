// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.annotation.Namespace;
import org.bytedeco.javacpp.annotation.NoException;
import org.bytedeco.javacpp.annotation.Platform;

/** Our own native functions; {@code merapi_cuda.h} holds the contract of each. Links to nothing of CUDA. */
@Platform(include = "merapi_cuda.h")
@Namespace("merapi::abi")
@NoException
final class CudaNative {
    static {
        Loader.load();
    }

    private CudaNative() {}

    static native int driver_devices();

    static native int driver_version();

    static native long library_open(long path, long error, long capacity);

    static native long library_symbol(long library, long name);

    static native void library_close(long library);

    static native long memory_allocate(long bytes);

    static native void memory_free(long address);

    static native void memory_copy(long target, long source, long bytes);

    static native void memory_fill(long target, int value, long bytes);

    static native long memory_limit();

    static native int simulator_launch(long launch, long error, long capacity);

    static native int nvrtc_compile(
            long functions, long source, long name, long options, int count, int ptx, long result);

    static native int blas_create(long functions, long result);

    static native int blas_plan(long functions, long handle, long problem, long result);

    static native void blas_forget(long functions, long plan);

    static native int blas_run(
            long functions,
            long handle,
            long plan,
            long a,
            long b,
            long bias,
            long d,
            long workspace,
            long bytes,
            long stream);
}
