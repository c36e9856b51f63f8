// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.host.Resources;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.ImageCache;
import dev.merapi.cuda.runtime.IndexFaults;
import dev.merapi.cuda.runtime.KernelCompileException;
import dev.merapi.cuda.runtime.KernelSource;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * CUDA on the CPU: unmodified kernel sources, compiled by the host's C++ compiler against a header that gives them
 * threads, barriers and warps. Everything is done when a call returns, so streams and events are numbers only,
 * and a graph is a list of what a stream was given.
 *
 * <p>{@code CudaSim} says in which order threads run, and whether accesses are checked; {@code
 * -Dmerapi.cuda.sim.threads} limits how many blocks run at once.
 */
public final class SimulatedCuda implements CudaRuntime {
    private static final int WORDS = 19;
    private static final int REGION_WORDS = 4;
    private static final int MESSAGE = 2048;
    static final int WRITABLE = 1;
    static final int FRESH = 2;
    private static final int BUILT_IN = 4;

    private final HostCompiler compiler;
    private final String header = Resources.text("cudasim_abi.h") + Resources.text("cudasim.h");
    private final String checkedHeader = header + Resources.text("cudasim_checks.h");
    private final ImageCache cache = new ImageCache(".so");
    private final ConcurrentMap<Long, SimulatedModule> modules = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, SimulatedModule.Function> functions = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Long> segments = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, List<Runnable>> captures = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, List<Runnable>> graphs = new ConcurrentHashMap<>();
    private final @Nullable Blas blas = SimulatedBlas.of(this::give);
    private final AtomicLong handles = new AtomicLong();
    private final int threads =
            Integer.getInteger("merapi.cuda.sim.threads", Runtime.getRuntime().availableProcessors());

    private final IndexFaults faults = new IndexFaults(CudaNative.memory_allocate(IndexFaults.BYTES));

    private SimulatedCuda(HostCompiler compiler) {
        this.compiler = compiler;
    }

    /** Null if the host has no compiler. */
    public static @Nullable SimulatedCuda create() {
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
        return new Properties("simulator", "sm_80", Math.max(1, threads), GROUP, true, CudaNative.memory_limit());
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
        refuseWhileCapturing("upload", stream);
        CudaNative.memory_copy(target, host, bytes);
    }

    @Override
    public void download(int device, long stream, long host, long source, long bytes) {
        refuseWhileCapturing("download", stream);
        CudaNative.memory_copy(host, source, bytes);
    }

    @Override
    public void copy(int device, long stream, long target, long source, long bytes) {
        give(stream, () -> CudaNative.memory_copy(target, source, bytes));
    }

    @Override
    public void copy(
            int device, long stream, long target, int sourceDevice, long sourceStream, long source, long bytes) {
        copy(device, stream, target, source, bytes);
    }

    @Override
    public void fill(int device, long stream, long target, int value, long bytes) {
        give(stream, () -> CudaNative.memory_fill(target, value, bytes));
    }

    // ---------------------------------------------------------------- streams: nothing is ever pending

    @Override
    public long createStream(int device) {
        return handles.incrementAndGet();
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
    public void synchronizeEvent(int device, long event) {}

    @Override
    public void synchronizeStream(int device, long stream) {
        refuseWhileCapturing("waiting", stream);
    }

    @Override
    public void synchronize(int device) {}

    // ---------------------------------------------------------------- graphs: lists of what was given

    @Override
    public @Nullable Blas blas(int device) {
        return blas;
    }

    private void give(long stream, Runnable work) {
        List<Runnable> capture = captures.get(stream);
        if (capture == null) {
            work.run();
        } else {
            capture.add(work);
        }
    }

    private void refuseWhileCapturing(String what, long stream) {
        if (captures.containsKey(stream)) {
            throw new CudaException("cuda-sim: " + what + " on a stream that is captured");
        }
    }

    @Override
    public void beginCapture(int device, long stream) {
        if (captures.putIfAbsent(stream, new ArrayList<>()) != null) {
            throw new CudaException("cuda-sim: the stream is captured already");
        }
    }

    @Override
    public long endCapture(int device, long stream) {
        List<Runnable> work = captures.remove(stream);
        if (work == null) {
            throw new CudaException("cuda-sim: the stream is not captured");
        }
        long graph = handles.incrementAndGet();
        graphs.put(graph, work);
        return graph;
    }

    @Override
    public long nodes(int device, long graph) {
        List<Runnable> work = graphs.get(graph);
        return work == null ? 0 : work.size();
    }

    @Override
    public void launchGraph(int device, long graph, long stream) {
        List<Runnable> work = graphs.get(graph);
        if (work == null) {
            throw new CudaException("cuda-sim: no such graph");
        }
        refuseWhileCapturing("a graph", stream);
        work.forEach(Runnable::run);
        faults.raise();
    }

    @Override
    public void destroyGraph(int device, long graph) {
        graphs.remove(graph);
    }

    // ---------------------------------------------------------------- kernels

    /** What a source is compiled to, with checks or without as they are wanted now: a library in the disk cache. */
    public Path compile(KernelSource source) {
        return compile(source, SimSettings.checks());
    }

    private Path compile(KernelSource source, boolean checked) {
        StringBuilder all = new StringBuilder(checked ? checkedHeader : header);
        all.append(DynamicShared.rewrite(source.unit())).append('\n');
        for (String entry : source.entries()) {
            all.append("CUDASIM_EXPORT CUDASIM_UNSEEN void cudasim_entry_").append(entry);
            all.append("(void** arguments) { cudasim::call(").append(entry).append(", arguments); }\n");
            all.append("CUDASIM_EXPORT CUDASIM_UNSEEN int cudasim_sizes_").append(entry);
            all.append("(int* out) { return cudasim::sizes(").append(entry).append(", out); }\n");
        }
        String text = all.toString();
        return cache.get(List.of(text, compiler.fingerprint(checked)), at -> {
            String refused = compiler.compile(text, at, checked);
            if (refused != null) {
                throw new KernelCompileException(
                        "cuda-sim: " + source.name() + " does not compile\n" + source.explained(refused.strip()));
            }
        });
    }

    @Override
    public long load(int device, KernelSource source) {
        boolean checked = SimSettings.checks();
        long module = handles.incrementAndGet();
        modules.put(module, new SimulatedModule(source, checked, compile(source, checked)));
        return module;
    }

    @Override
    public long load(int device, String op, byte[] image) {
        throw new CudaException(op + ": cuda-sim runs sources, and this kernel is a compiled image of " + image.length
                + " bytes\n  fix: register CudaKernel.source(…), or run on a GPU.");
    }

    @Override
    public long function(long module, String name) {
        long function = handles.incrementAndGet();
        functions.put(function, Objects.requireNonNull(modules.get(module)).function(name));
        return function;
    }

    @Override
    public void unload(long module) {
        SimulatedModule m = modules.remove(module);
        if (m != null) {
            functions.values().removeIf(f -> f.module() == m);
            m.close();
        }
    }

    /** How many modules are loaded. */
    public int modules() {
        return modules.size();
    }

    /** The same function with or without checks, as they are wanted now. */
    private SimulatedModule.Function function(long handle, boolean checked) {
        SimulatedModule.Function f = Objects.requireNonNull(functions.get(handle));
        SimulatedModule module = f.module();
        if (module.isChecked() == checked) {
            return f;
        }
        synchronized (module) {
            SimulatedModule twin = module.twin();
            if (twin == null) {
                twin = new SimulatedModule(module.source(), checked, compile(module.source(), checked));
                module.setTwin(twin);
            }
            return twin.function(f.name());
        }
    }

    @Override
    public boolean checks() {
        return SimSettings.checks();
    }

    @Override
    public boolean waits() {
        return true;
    }

    @Override
    public IndexFaults faults(int device) {
        return faults;
    }

    @Override
    public void launch(int device, long stream, String op, long function, Grid grid, Arguments arguments) {
        List<Runnable> capture = captures.get(stream);
        if (capture == null) {
            run(op, function, grid, arguments);
        } else {
            Arguments kept = arguments.copy();
            capture.add(() -> run(op, function, grid, kept));
        }
    }

    private void run(String op, long function, Grid grid, Arguments arguments) {
        boolean checked = SimSettings.checks();
        SimulatedModule.Function f = function(function, checked);
        if (!checked) {
            launch(op, f, grid, arguments, false, List.of());
            return;
        }
        try (GuardedTensors guarded = new GuardedTensors(arguments.regions())) {
            // A captured launch is run again with the arguments as they were.
            Arguments moved = arguments.copy();
            moved.replace(guarded::moved);
            launch(op, f, grid, moved, true, List.of(guarded.table(), segments(), variables(f.module())));
        }
    }

    private void launch(
            String op,
            SimulatedModule.Function f,
            Grid grid,
            Arguments arguments,
            boolean checked,
            List<long[][]> tables) {
        int words =
                WORDS + REGION_WORDS * tables.stream().mapToInt(t -> t.length).sum();
        try (HostMemory descriptor = HostMemory.allocate((long) words * Long.BYTES + MESSAGE)) {
            long error = descriptor.address() + (long) words * Long.BYTES;
            ByteBuffer b = descriptor.buffer();
            b.putLong(f.address()).putLong(f.module().bind());
            b.putLong(grid.x()).putLong(grid.y()).putLong(grid.z());
            b.putLong(grid.blockX()).putLong(grid.blockY()).putLong(grid.blockZ());
            b.putLong(grid.sharedBytes()).putLong(arguments.table()).putLong(threads);
            b.putLong(SimSettings.order()).putLong(checked ? 1 : 0);
            long at = descriptor.address() + WORDS * Long.BYTES;
            for (long[][] table : tables) {
                b.putLong(at).putLong(table.length);
                at += (long) REGION_WORDS * Long.BYTES * table.length;
            }
            b.position(WORDS * Long.BYTES);
            for (long[][] table : tables) {
                for (long[] region : table) {
                    b.putLong(region[0]).putLong(region[1]).putLong(region[2]).putLong(region[3]);
                }
            }
            if (CudaNative.simulator_launch(descriptor.address(), error, MESSAGE) != 0) {
                String said = f.module().explained(message(b, words * Long.BYTES), arguments.regions());
                throw new CudaException(op + ": cuda-sim: kernel " + f.name() + ": " + said + grid.facts());
            }
        }
    }

    private long[][] segments() {
        return segments.entrySet().stream()
                .map(e -> new long[] {e.getKey(), e.getValue(), WRITABLE, 1})
                .toArray(long[][]::new);
    }

    private static long[][] variables(SimulatedModule module) {
        return module.variables().stream()
                .map(v -> new long[] {v.offset(), v.bytes(), v.builtIn() ? BUILT_IN : WRITABLE, 1})
                .toArray(long[][]::new);
    }

    private static String message(ByteBuffer descriptor, int at) {
        byte[] bytes = new byte[MESSAGE];
        descriptor.get(at, bytes);
        int n = 0;
        while (n < MESSAGE && bytes[n] != 0) {
            n++;
        }
        return new String(bytes, 0, n, StandardCharsets.UTF_8);
    }
}
