// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * CUDA on the CPU: unmodified kernel sources, compiled by the host's C++ compiler against a header that gives them
 * threads, barriers and warps. Everything is done when a call returns, so streams and events are numbers only.
 *
 * <p>{@code -Dmerapi.cuda.sim.order=reverse} or {@code =7}, a seed, lets the threads of a block begin in another order:
 * a kernel that misses a barrier then gives other results. {@code -Dmerapi.cuda.sim.check=true} finds accesses of custom
 * kernels outside of their tensors, and writes to what they may only read, with the source line; some ten times slower.
 * {@code -Dmerapi.cuda.sim.threads} limits how many blocks run at once.
 */
final class SimulatedCuda implements CudaRuntime {
    private static final int WORDS = 16;
    private static final Pattern REGION = Pattern.compile("@(\\d+)@");
    private static final Pattern PLACE = Pattern.compile("@(0x[0-9a-f]+)@");
    private static final int MESSAGE = 1024;

    private final HostCompiler compiler;
    private final String header = Resources.text("cudasim_abi.h") + Resources.text("cudasim.h");
    private final ImageCache cache = new ImageCache(".so");
    private final ConcurrentMap<Long, String> names = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Long> binds = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Path> images = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Long> segments = new ConcurrentHashMap<>();
    private final boolean checks = Boolean.getBoolean("merapi.cuda.sim.check");
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
        long address = CudaNative.memory_allocate(bytes);
        if (address != 0) {
            segments.put(address, bytes);
        }
        return address;
    }

    @Override
    public void free(int device, long address) {
        segments.remove(address);
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
        return cache.get(List.of(text, compiler.fingerprint(checks)), at -> {
            String refused = compiler.compile(text, at, checks);
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
            images.put(library, image);
            return library;
        }
    }

    @Override
    public long function(long module, String name) {
        long function = symbol(module, "cudasim_entry_" + name);
        names.put(function, name);
        binds.put(function, java.util.Objects.requireNonNull(binds.get(module)));
        images.put(function, java.util.Objects.requireNonNull(images.get(module)));
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
    public void launch(int device, long stream, long function, Grid grid, Arguments arguments) {
        List<Arguments.Region> regions = checks ? arguments.regions() : List.of();
        long[][] known = regions.isEmpty()
                ? new long[0][]
                : segments.entrySet().stream()
                        .map(e -> new long[] {e.getKey(), e.getValue(), 1})
                        .toArray(long[][]::new);
        long words = WORDS + 3L * (regions.size() + known.length);
        try (HostMemory descriptor = HostMemory.allocate(words * Long.BYTES + MESSAGE)) {
            long tables = descriptor.address() + WORDS * Long.BYTES;
            long error = descriptor.address() + words * Long.BYTES;
            ByteBuffer b = descriptor.buffer();
            b.putLong(function).putLong(java.util.Objects.requireNonNull(binds.get(function)));
            b.putLong(grid.x()).putLong(grid.y()).putLong(grid.z());
            b.putLong(grid.blockX()).putLong(grid.blockY()).putLong(grid.blockZ());
            b.putLong(grid.sharedBytes())
                    .putLong(arguments.table())
                    .putLong(threads)
                    .putLong(order);
            b.putLong(tables).putLong(regions.size());
            b.putLong(tables + 3L * Long.BYTES * regions.size()).putLong(known.length);
            for (Arguments.Region r : regions) {
                Tensor t = r.tensor();
                long elements = t.layout().end() - t.layout().offset();
                b.putLong(t.address()).putLong(elements * t.dtype().byteSize()).putLong(r.writable() ? 1 : 0);
            }
            for (long[] segment : known) {
                b.putLong(segment[0]).putLong(segment[1]).putLong(segment[2]);
            }
            if (CudaNative.simulator_launch(descriptor.address(), error, MESSAGE) != 0) {
                String said = message(b, (int) words * Long.BYTES);
                throw new CudaException(
                        "cuda-sim: kernel " + names.get(function) + ": " + explained(said, function, regions));
            }
        }
    }

    /** Names for the regions, and source lines for the places, of a message. */
    private String explained(String said, long function, List<Arguments.Region> regions) {
        String named = REGION.matcher(said).replaceAll(m -> {
            Arguments.Region r = regions.get(Integer.parseInt(m.group(1)));
            return Matcher.quoteReplacement(r.name() + " (" + r.tensor().describe() + ")");
        });
        String image = java.util.Objects.requireNonNull(images.get(function)).toString();
        return PLACE.matcher(named).replaceAll(m -> {
            String line = HostCompiler.line(image, m.group(1));
            return Matcher.quoteReplacement(line.isEmpty() ? "an unknown line" : line);
        });
    }

    private static String message(ByteBuffer descriptor, int at) {
        byte[] bytes = new byte[MESSAGE];
        descriptor.get(at, bytes);
        int n = 0;
        while (n < MESSAGE && bytes[n] != 0) {
            n++;
        }
        return new String(bytes, 0, n, java.nio.charset.StandardCharsets.UTF_8);
    }
}
