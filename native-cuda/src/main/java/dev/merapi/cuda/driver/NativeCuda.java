// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.ImageCache;
import dev.merapi.cuda.runtime.IndexFaults;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.cuda.runtime.MatrixProduct;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * CUDA on GPUs: the driver's interface and a compiler, both found at run time. Launches and copies take no lock, and may
 * come from any thread.
 *
 * <p>A kernel's fault shows at some later call. {@code -Dmerapi.cuda.checked=true} waits after each launch, so that the
 * error names the op and the kernel.
 */
public final class NativeCuda implements CudaRuntime {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");

    /** Above this a function must be allowed to use so much. */
    private static final int ORDINARY_SHARED = 48 << 10;

    /** From sources to images; NVRTC, but for tests. */
    public interface Compiler {
        /** What it is, and where it was found. */
        String description();

        /** What decides what comes out, the source apart. */
        String fingerprint(int architecture);

        byte[] compile(KernelSource source, int architecture);

        /** Whether a source's entries are better compiled one by one, when they are asked for. */
        default boolean compilesApart() {
            return true;
        }
    }

    private record Function(long module, String name) {}

    private final Driver driver;
    private final int driverVersion;
    /** Each is begun by its first use: on a machine with several, a process takes nothing of those that it leaves alone. */
    private final AtomicReferenceArray<DriverDevice> devices;

    private final Compiler compiler;
    private final ImageCache cache = new ImageCache(".cubin");
    private final ConcurrentMap<Long, Integer> modules = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Function> functions = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Long> graphNodes = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Integer> allowedShared = new ConcurrentHashMap<>();
    /** Empty where there is no library; null before somebody has asked. */
    private final AtomicReferenceArray<Optional<Blas>> blas;

    private final boolean waits = Boolean.getBoolean("merapi.cuda.checked");

    /**
     * @param driverVersion the version of CUDA that the driver is for, 1000 · major + 10 · minor; 0 if it is not known
     * @param count how many devices it offers
     */
    public NativeCuda(Driver driver, int driverVersion, int count, Compiler compiler) {
        this.driver = driver;
        this.driverVersion = driverVersion;
        this.compiler = compiler;
        this.devices = new AtomicReferenceArray<>(count);
        this.blas = new AtomicReferenceArray<>(count);
    }

    /** @throws CudaException if it cannot be used */
    private DriverDevice device(int index) {
        DriverDevice known = devices.get(index);
        return known != null ? known : begin(index);
    }

    private synchronized DriverDevice begin(int index) {
        DriverDevice known = devices.get(index);
        if (known == null) {
            known = new DriverDevice(driver, index, this::name);
            devices.set(index, known);
            LOG.info("cuda:{}: {}", index, known.properties().describe());
        }
        return known;
    }

    /** The devices that are in use, and where the libraries came from with their versions. */
    @Override
    public String description() {
        List<String> begun = new ArrayList<>();
        for (int i = 0; i < devices.length(); i++) {
            DriverDevice d = devices.get(i);
            if (d != null) {
                begun.add(d.properties().describe());
            }
        }
        String which = begun.isEmpty() ? devices.length() + " not in use yet" : String.join(", ", begun);
        return "CUDA: " + which + "; " + libraries() + "; " + CublasLt.describe();
    }

    /** Driver and compiler. */
    public String libraries() {
        return "driver for CUDA " + version(driverVersion) + " (" + driver.place() + "); " + compiler.description();
    }

    private static String version(int number) {
        return number / 1000 + "." + number % 1000 / 10;
    }

    /** 32 KiB since CUDA 12.1 and Volta, 4 before. */
    @Override
    public int argumentBytes(int device) {
        Nvrtc nvrtc = Nvrtc.get();
        boolean many = driverVersion >= 12_010
                && nvrtc != null
                && nvrtc.version() >= 12_001
                && device(device).architecture() >= 70;
        return many ? CudaRuntime.super.argumentBytes(device) : 4096;
    }

    @Override
    public int deviceCount() {
        return devices.length();
    }

    @Override
    public Properties properties(int device) {
        return device(device).properties();
    }

    // ---------------------------------------------------------------- memory

    /** What is free at the beginning, less what the driver and libraries want for themselves. */
    @Override
    public long defaultCap(int device) {
        long free = device(device).free();
        return free - Math.min(free / 8, 512L << 20);
    }

    @Override
    public long allocate(int device, long bytes) {
        DriverDevice d = device(device);
        d.requireAlive();
        try (HostMemory result = HostMemory.allocate(Long.BYTES)) {
            int status = CudaNative.driver_allocate(driver.functions(), d.context(), bytes, result.address());
            if (status == CudaNumbers.CUDA_ERROR_OUT_OF_MEMORY) {
                return 0;
            }
            d.check(status, "allocation of " + bytes + " bytes");
            return result.buffer().getLong(0);
        }
    }

    @Override
    public void free(int device, long address) {
        DriverDevice d = device(device);
        d.check(CudaNative.driver_free(driver.functions(), d.context(), address), "free");
    }

    @Override
    public void upload(int device, long stream, long target, long host, long bytes) {
        DriverDevice d = alive(device);
        d.staging().upload(d.stream(stream), target, host, bytes);
    }

    @Override
    public void download(int device, long stream, long host, long source, long bytes) {
        DriverDevice d = alive(device);
        d.staging().download(d.stream(stream), host, source, bytes);
        d.faults().raise();
    }

    @Override
    public void copy(int device, long stream, long target, long source, long bytes) {
        DriverDevice d = alive(device);
        int status = CudaNative.driver_copy(driver.functions(), d.context(), d.stream(stream), target, source, bytes);
        d.check(status, "copy of " + bytes + " bytes");
    }

    @Override
    public void copy(
            int device, long stream, long target, int sourceDevice, long sourceStream, long source, long bytes) {
        DriverDevice to = alive(device);
        DriverDevice from = alive(sourceDevice);
        from.reach(to);
        // What the target's memory was used for before is over, and nobody uses the source's anew before its end.
        from.await(sourceStream, to, stream);
        int status = CudaNative.driver_copy_peer(
                driver.functions(),
                from.context(),
                from.stream(sourceStream),
                target,
                to.context(),
                source,
                from.context(),
                bytes);
        from.check(status, "copy of " + bytes + " bytes to cuda:" + device);
        to.await(stream, from, sourceStream);
    }

    @Override
    public void fill(int device, long stream, long target, int value, long bytes) {
        DriverDevice d = alive(device);
        int status = CudaNative.driver_fill(driver.functions(), d.context(), d.stream(stream), target, value, bytes);
        d.check(status, "fill of " + bytes + " bytes");
    }

    private DriverDevice alive(int device) {
        DriverDevice d = device(device);
        d.requireAlive();
        return d;
    }

    // ---------------------------------------------------------------- streams

    @Override
    public long createStream(int device) {
        return device(device).streams().create();
    }

    @Override
    public void destroyStream(int device, long stream) {
        device(device).streams().destroy(stream);
    }

    @Override
    public long createEvent(int device) {
        return device(device).createEvent();
    }

    @Override
    public void destroyEvent(int device, long event) {
        device(device).destroyEvent(event);
    }

    @Override
    public void record(int device, long event, long stream) {
        DriverDevice d = alive(device);
        d.record(event, d.stream(stream));
    }

    @Override
    public void await(int device, long stream, long event) {
        DriverDevice d = alive(device);
        d.check(
                CudaNative.driver_event_await(driver.functions(), d.context(), d.stream(stream), event),
                "waiting for an event");
    }

    @Override
    public void synchronizeEvent(int device, long event) {
        DriverDevice d = alive(device);
        d.synchronizeEvent(event);
        d.faults().raise();
    }

    @Override
    public void synchronizeStream(int device, long stream) {
        DriverDevice d = alive(device);
        d.check(
                CudaNative.driver_stream_synchronize(driver.functions(), d.context(), d.stream(stream)),
                "waiting for a stream");
        d.faults().raise();
    }

    @Override
    public void synchronize(int device) {
        DriverDevice d = alive(device);
        d.streams().synchronize();
        d.faults().raise();
    }

    // ---------------------------------------------------------------- graphs

    @Override
    public void beginCapture(int device, long stream) {
        DriverDevice d = alive(device);
        d.streams().beginCapture(d.stream(stream));
    }

    @Override
    public long endCapture(int device, long stream) {
        DriverDevice d = device(device);
        DriverStreams.Captured captured = d.streams().endCapture(d.stream(stream));
        graphNodes.put(captured.graph(), captured.nodes());
        return captured.graph();
    }

    @Override
    public long nodes(int device, long graph) {
        return graphNodes.getOrDefault(graph, 0L);
    }

    @Override
    public void launchGraph(int device, long graph, long stream) {
        DriverDevice d = alive(device);
        d.faults().raise();
        long on = d.stream(stream);
        d.check(CudaNative.driver_graph_launch(driver.functions(), d.context(), graph, on), "launch of a graph");
        LaunchLog.Replay replay = new LaunchLog.Replay(nodes(device, graph));
        d.launches().add("CudaGraph", 0, replay);
        if (waits) {
            finish(d, on, "CudaGraph", "one of the kernels of " + replay, "");
            d.faults().raise();
        }
    }

    /** Waits for what a call has begun, so that a fault is told as its own. */
    private void finish(DriverDevice d, long stream, String op, String what, String facts) {
        int status = CudaNative.driver_stream_synchronize(driver.functions(), d.context(), stream);
        if (status != 0) {
            d.faulted(status, op, what, facts);
        }
    }

    @Override
    public void destroyGraph(int device, long graph) {
        DriverDevice d = device(device);
        graphNodes.remove(graph);
        d.check(CudaNative.driver_graph_destroy(driver.functions(), d.context(), graph), "end of a graph");
    }

    // ---------------------------------------------------------------- kernels

    @Override
    public boolean compilesApart() {
        return compiler.compilesApart();
    }

    @Override
    public long load(int device, KernelSource source) {
        int architecture = device(device).architecture();
        Path image = cache.get(
                List.of(source.unit(), compiler.fingerprint(architecture)),
                at -> Files.write(at, compiler.compile(source, architecture)));
        try {
            return load(device, ImageCache.read(image), image.toString());
        } catch (IOException e) {
            throw new UncheckedIOException("cuda: " + image + " cannot be read: " + e.getMessage(), e);
        }
    }

    @Override
    public long load(int device, String op, byte[] image) {
        return load(device, image, "the image of " + op);
    }

    private long load(int device, byte[] image, String what) {
        DriverDevice d = device(device);
        // PTX is a text, and ends with a zero.
        try (HostMemory memory = HostMemory.allocate(image.length + 1L)) {
            memory.buffer().put(0, image).put(image.length, (byte) 0);
            long module = d.made(
                    result -> CudaNative.driver_module(driver.functions(), d.context(), memory.address(), result),
                    "loading " + what + " (" + libraries() + ")");
            modules.put(module, device);
            return module;
        }
    }

    @Override
    public void unload(long module) {
        Integer device = modules.remove(module);
        if (device == null || !device(device).isAlive()) {
            return;
        }
        DriverDevice d = device(device);
        d.streams().synchronize();
        // Before the driver can give these handles to others.
        functions.forEach((function, f) -> {
            if (f.module == module) {
                functions.remove(function);
                allowedShared.remove(function);
            }
        });
        d.check(CudaNative.driver_module_unload(driver.functions(), d.context(), module), "unloading a module");
    }

    /** How many modules are loaded. */
    public int modules() {
        return modules.size();
    }

    @Override
    public long function(long module, String name) {
        int device = java.util.Objects.requireNonNull(modules.get(module), "no such module");
        DriverDevice d = device(device);
        try (HostMemory text = HostMemory.text(name)) {
            long function = d.made(
                    result ->
                            CudaNative.driver_function(driver.functions(), d.context(), module, text.address(), result),
                    "kernel " + name);
            functions.put(function, new Function(module, name));
            return function;
        }
    }

    @Override
    public boolean waits() {
        return waits;
    }

    /** For the tensors that a fault's message names. */
    @Override
    public boolean checks() {
        return waits;
    }

    @Override
    public IndexFaults faults(int device) {
        return device(device).faults();
    }

    @Override
    public void launch(int device, long stream, String op, long function, Grid grid, Arguments arguments) {
        DriverDevice d = alive(device);
        d.faults().raise();
        if (grid.sharedBytes() > ORDINARY_SHARED) {
            allowShared(d, function, grid.sharedBytes());
        }
        long on = d.stream(stream);
        int status = CudaNative.driver_launch(
                driver.functions(),
                d.context(),
                on,
                function,
                grid.x(),
                grid.y(),
                grid.z(),
                grid.blockX(),
                grid.blockY(),
                grid.blockZ(),
                grid.sharedBytes(),
                arguments.table());
        if (status != 0) {
            d.check(status, "launch of kernel " + name(function) + " for " + op, grid.facts());
        }
        d.launches().add(op, function, grid);
        if (waits && !d.streams().isCaptured(on)) {
            finish(d, on, op, "kernel " + name(function), grid.facts() + arguments.facts());
        }
    }

    /** Seconds that the driver's call alone takes the calling thread, for each of so many launches of a kernel without arguments. */
    public double launchCost(int device, long function, int count) {
        DriverDevice d = alive(device);
        d.streams().synchronize();
        double seconds = CudaNative.driver_launch_cost(driver.functions(), d.context(), d.stream(0), function, count);
        if (seconds < 0) {
            d.check((int) -seconds, "launch of kernel " + name(function));
        }
        return seconds;
    }

    private void allowShared(DriverDevice d, long function, int bytes) {
        Integer allowed = allowedShared.get(function);
        if (allowed != null && allowed >= bytes) {
            return;
        }
        // One thread at a time, and never less than before: what another one was allowed must stay so.
        allowedShared.compute(function, (f, now) -> {
            if (now != null && now >= bytes) {
                return now;
            }
            d.check(
                    CudaNative.driver_shared(driver.functions(), d.context(), function, bytes),
                    "kernel " + name(function) + " with " + bytes + " bytes of dynamic shared memory");
            return bytes;
        });
    }

    private String name(long function) {
        Function f = functions.get(function);
        return f == null ? "unknown" : f.name();
    }

    // ---------------------------------------------------------------- products of matrices

    @Override
    public boolean hasBlas() {
        return CublasLt.get() != null;
    }

    @Override
    public @Nullable Blas blas(int device) {
        Optional<Blas> known = blas.get(device);
        return (known != null ? known : openBlas(device)).orElse(null);
    }

    private synchronized Optional<Blas> openBlas(int device) {
        Optional<Blas> known = blas.get(device);
        if (known == null) {
            CublasLt library = CublasLt.get();
            try {
                known = library == null ? Optional.empty() : Optional.of(on(library, device));
            } catch (CudaException e) {
                alive(device);
                LOG.warn("cuda:{}: our own matrix products instead of cuBLASLt: {}", device, e.getMessage());
                known = Optional.empty();
            }
            blas.set(device, known);
        }
        return known;
    }

    private Blas on(CublasLt library, int device) {
        DriverDevice d = device(device);
        d.check(CudaNative.driver_use(driver.functions(), d.context()), "the device cannot be used");
        return watched(device, library.on(new CublasLt.Streams() {
            @Override
            public long handle(long stream) {
                d.check(CudaNative.driver_use(driver.functions(), d.context()), "the device cannot be used");
                return d.stream(stream);
            }

            @Override
            public boolean isCaptured(long handle) {
                return d.streams().isCaptured(handle);
            }

            @Override
            public void finish(long handle) {
                NativeCuda.this.finish(d, handle);
            }
        }));
    }

    /** @throws CudaException if the device is lost */
    private void finish(DriverDevice d, long handle) {
        d.check(CudaNative.driver_stream_synchronize(driver.functions(), d.context(), handle), "a product of cuBLASLt");
    }

    /**
     * A library's products, as launches are: logged, waited for in checked mode, and not taken for what failed before. One
     * that fails by itself is none for the library.
     */
    public Blas watched(int device, Blas blas) {
        DriverDevice d = device(device);
        return (p, tf32, stream) -> multiply(d, blas, p, tf32, stream);
    }

    private boolean multiply(DriverDevice d, Blas blas, MatrixProduct p, boolean tf32, long stream) {
        d.requireAlive();
        long on = d.stream(stream);
        boolean begun;
        try {
            begun = blas.multiply(p, tf32, stream);
        } catch (CudaException e) {
            // What is recorded may hold a part of it already.
            if (d.streams().isCaptured(on)) {
                throw e;
            }
            // What the library calls a failure of its own may be a fault of what ran before.
            finish(d, on);
            LOG.warn("cuda: our own kernel multiplies, from now on for such operands: {}", e.getMessage());
            return false;
        }
        if (begun) {
            d.launches().add(p.op(), 0, new LaunchLog.Product(p.m(), p.n(), p.k()));
            if (waits && !d.streams().isCaptured(on)) {
                finish(d, on, p.op(), "a product of cuBLASLt", p.facts());
            }
        }
        return begun;
    }
}
