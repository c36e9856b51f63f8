// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/**
 * CUDA on the CPU: unmodified kernel sources, compiled by the host's C++ compiler against a header that gives them
 * threads, barriers and warps. Everything is done when a call returns, so streams and events are numbers only.
 *
 * <p>{@code -Dmerapi.cuda.sim.order=reverse} or {@code =7}, a seed, lets the threads of a block begin in another order:
 * a kernel that misses a barrier then gives other results. {@code -Dmerapi.cuda.sim.threads} limits how many blocks run at
 * once.
 */
final class SimulatedCuda implements CudaRuntime {
    private static final int WORDS = 12;
    private static final int MESSAGE = 1024;

    private final HostCompiler compiler;
    private final String header = Resources.text("cudasim_abi.h") + Resources.text("cudasim.h");
    private final ImageCache cache = new ImageCache(".so");
    private final ConcurrentMap<Long, String> names = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Long> binds = new ConcurrentHashMap<>();
    private final ThreadLocal<HostMemory> descriptors =
            ThreadLocal.withInitial(() -> HostMemory.allocate(WORDS * Long.BYTES + MESSAGE));
    private final int threads =
            Integer.getInteger("merapi.cuda.sim.threads", Runtime.getRuntime().availableProcessors());
    private final long order = order(System.getProperty("merapi.cuda.sim.order", "forward"));

    private SimulatedCuda(HostCompiler compiler) {
        this.compiler = compiler;
    }

    private static long order(String text) {
        return switch (text) {
            case "forward" -> 0;
            case "reverse" -> -1;
            default -> Math.max(1, Long.parseLong(text));
        };
    }

    /** Null if the host has no compiler. */
    static @Nullable SimulatedCuda create() {
        HostCompiler compiler = HostCompiler.find();
        return compiler == null ? null : new SimulatedCuda(compiler);
    }

    @Override
    public String description() {
        return "CUDA simulator, kernels compiled by " + compiler.version();
    }

    @Override
    public int deviceCount() {
        return 1;
    }

    @Override
    public Properties properties(int device) {
        return new Properties("simulator", 80, Math.max(1, threads), CudaNative.memory_limit());
    }

    // ---------------------------------------------------------------- memory

    @Override
    public long allocate(int device, long bytes) {
        return CudaNative.memory_allocate(bytes);
    }

    @Override
    public void free(int device, long address) {
        CudaNative.memory_free(address);
    }

    @Override
    public void upload(int device, long stream, long target, long host, long bytes) {
        CudaNative.memory_copy(target, host, bytes);
    }

    @Override
    public void download(int device, long stream, long host, long source, long bytes) {
        CudaNative.memory_copy(host, source, bytes);
    }

    @Override
    public void copy(int device, long stream, long target, long source, long bytes) {
        CudaNative.memory_copy(target, source, bytes);
    }

    @Override
    public void fill(int device, long stream, long target, int value, long bytes) {
        CudaNative.memory_fill(target, value, bytes);
    }

    // ---------------------------------------------------------------- streams: nothing is ever pending

    @Override
    public long createStream(int device) {
        return 1;
    }

    @Override
    public void destroyStream(int device, long stream) {}

    @Override
    public long createEvent(int device) {
        return 1;
    }

    @Override
    public void destroyEvent(int device, long event) {}

    @Override
    public void record(int device, long event, long stream) {}

    @Override
    public void await(int device, long stream, long event) {}

    @Override
    public void synchronizeStream(int device, long stream) {}

    @Override
    public void synchronize(int device) {}

    // ---------------------------------------------------------------- kernels

    @Override
    public Path compile(int device, KernelSource source) {
        StringBuilder all = new StringBuilder(header);
        all.append(DynamicShared.rewrite(source.unit())).append('\n');
        for (String entry : source.entries()) {
            all.append("CUDASIM_EXPORT void cudasim_entry_").append(entry);
            all.append("(void** arguments) { cudasim::call(").append(entry).append(", arguments); }\n");
        }
        String text = all.toString();
        return cache.get(List.of(text, compiler.fingerprint()), at -> {
            String refused = compiler.compile(text, at);
            if (refused != null) {
                throw new KernelCompileException(
                        "cuda-sim: " + source.name() + " does not compile\n" + refused.strip());
            }
        });
    }

    @Override
    public long load(int device, Path image) {
        try (HostMemory path = HostMemory.text(image.toString());
                HostMemory error = HostMemory.allocate(MESSAGE)) {
            long library = CudaNative.library_open(path.address(), error.address(), MESSAGE);
            if (library == 0) {
                throw new CudaException(
                        "cuda-sim: a compiled kernel cannot be loaded: " + error.text() + "\n  fix: delete " + image);
            }
            binds.put(library, symbol(library, "cudasim_bind"));
            return library;
        }
    }

    @Override
    public long function(long module, String name) {
        long function = symbol(module, "cudasim_entry_" + name);
        names.put(function, name);
        binds.put(function, java.util.Objects.requireNonNull(binds.get(module)));
        return function;
    }

    private static long symbol(long library, String name) {
        try (HostMemory text = HostMemory.text(name)) {
            long address = CudaNative.library_symbol(library, text.address());
            if (address == 0) {
                throw new CudaException("cuda-sim: no " + name + " in a compiled kernel");
            }
            return address;
        }
    }

    @Override
    public void launch(int device, long stream, long function, Grid grid, long arguments) {
        HostMemory descriptor = descriptors.get();
        ByteBuffer b = descriptor.buffer().clear();
        b.putLong(function).putLong(java.util.Objects.requireNonNull(binds.get(function)));
        b.putLong(grid.x()).putLong(grid.y()).putLong(grid.z());
        b.putLong(grid.blockX()).putLong(grid.blockY()).putLong(grid.blockZ());
        b.putLong(grid.sharedBytes()).putLong(arguments).putLong(threads).putLong(order);
        long error = descriptor.address() + WORDS * Long.BYTES;
        if (CudaNative.simulator_launch(descriptor.address(), error, MESSAGE) != 0) {
            throw new CudaException("cuda-sim: kernel " + names.get(function) + ": " + message(descriptor.buffer()));
        }
    }

    private static String message(ByteBuffer descriptor) {
        byte[] bytes = new byte[MESSAGE];
        descriptor.get(WORDS * Long.BYTES, bytes);
        int n = 0;
        while (n < MESSAGE && bytes[n] != 0) {
            n++;
        }
        return new String(bytes, 0, n, java.nio.charset.StandardCharsets.UTF_8);
    }
}
