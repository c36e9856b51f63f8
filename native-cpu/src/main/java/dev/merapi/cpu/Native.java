// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.annotation.Namespace;
import org.bytedeco.javacpp.annotation.NoException;
import org.bytedeco.javacpp.annotation.Platform;

/**
 * The native kernels. Primitives and addresses only: a call costs a JNI transition and no object. The C++ headers hold
 * the contract of each function; status codes are those of {@code merapi_cpu.h} (0 is success).
 */
@Platform(include = {"merapi_cpu.h", "merapi_kernels.h", "merapi_memory.h"})
@Namespace("merapi::abi")
@NoException
final class Native {
    static {
        Loader.load();
    }

    private Native() {}

    // ---- merapi_cpu.h: threads, pointwise programs, reductions ----

    static native int num_threads();

    static native void set_num_threads(int threads);

    static native int default_num_threads();

    static native int isa_level();

    static native long openblas_callback_address();

    static native long program_create(long text, long length, long error, long errorCapacity);

    static native void program_destroy(long handle);

    static native int program_run_flat(
            long handle, long n, long out, long in0, long in1, long in2, int broadcast, long scalars);

    static native int program_run(long handle, long descriptor);

    static native long reduce_create(long text, long length, long error, long errorCapacity);

    static native void reduce_destroy(long handle);

    static native int reduce_run(long handle, long descriptor);

    // ---- merapi_memory.h ----

    static native long memory_allocate(long bytes);

    static native void memory_free(long address, long bytes);

    static native long memory_limit();

    static native long symbol_address(long path, long symbol);

    // ---- merapi_kernels.h: structured kernels ----
}
