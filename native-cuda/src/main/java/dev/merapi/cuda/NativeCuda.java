// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/**
 * CUDA on GPUs: the driver's interface and a compiler, both found at run time. Launches and copies take no lock, and may
 * come from any thread.
 *
 * <p>A kernel's fault shows at some later call. {@code -Dmerapi.cuda.checked=true} waits after each launch, so that the
 * error names the op and the kernel.
 */
final class NativeCuda implements CudaRuntime {
    /** Above this a function must be allowed to use so much. */
    private static final int ORDINARY_SHARED = 48 << 10;

    /** From sources to images; NVRTC, but for tests. */
    interface Compiler {
        /** What it is, and where it was found. */
        String description();

        /** What decides what comes out, the source apart. */
        String fingerprint(int architecture);

        byte[] compile(KernelSource source, int architecture);
    }

    private record Function(int device, String name) {}

    private final Driver driver;
    private final DriverDevice[] devices;
    private final Compiler compiler;
    private final ImageCache cache = new ImageCache(".cubin");
    private final ConcurrentMap<Long, Integer> modules = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Function> functions = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Integer> allowedShared = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Boolean> captures = new ConcurrentHashMap<>();
    private final @Nullable Blas[] blas;
    private final boolean[] blasTried;
    private final boolean waits = Boolean.getBoolean("merapi.cuda.checked");

    NativeCuda(Driver driver, int count, Compiler compiler) {
        this.driver = driver;
        this.compiler = compiler;
        this.devices = new DriverDevice[count];
        this.blas = new Blas[count];
        this.blasTried = new boolean[count];
        for (int i = 0; i < count; i++) {
            devices[i] = new DriverDevice(driver, i, this::name);
        }
    }

    /** The devices, and where the libraries came from with their versions. */
    @Override
    public String description() {
        return devices() + "; driver for CUDA " + version(Cuda.driverVersion()) + " (" + driver.place() + "); "
                + compiler.description() + "; " + CublasLt.describe();
    }

    private String devices() {
        StringBuilder all = new StringBuilder("CUDA: ");
        for (int i = 0; i < devices.length; i++) {
            Properties p = devices[i].properties();
            all.append(i == 0 ? "" : ", ")
                    .append(p.name())
                    .append(" (sm_")
                    .append(p.architecture())
                    .append(", ")
                    .append(p.memory() >> 30)
                    .append(" GiB)");
        }
        return all.toString();
    }

    private static String version(int number) {
        return number / 1000 + "." + number % 1000 / 10;
    }

    @Override
    public int deviceCount() {
        return devices.length;
    }

    @Override
    public Properties properties(int device) {
        return devices[device].properties();
    }

    // ---------------------------------------------------------------- memory

    /** What is free at the beginning, less what the driver and libraries want for themselves. */
    @Override
    public long defaultCap(int device) {
        long free = devices[device].free();
        return free - Math.min(free / 8, 512L << 20);
    }

    @Override
    public long allocate(int device, long bytes) {
        DriverDevice d = devices[device];
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
        DriverDevice d = devices[device];
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
    public void fill(int device, long stream, long target, int value, long bytes) {
        DriverDevice d = alive(device);
        int status = CudaNative.driver_fill(driver.functions(), d.context(), d.stream(stream), target, value, bytes);
        d.check(status, "fill of " + bytes + " bytes");
    }

    private DriverDevice alive(int device) {
        DriverDevice d = devices[device];
        d.requireAlive();
        return d;
    }

    // ---------------------------------------------------------------- streams

    @Override
    public long createStream(int device) {
        return devices[device].createStream();
    }

    @Override
    public void destroyStream(int device, long stream) {
        DriverDevice d = devices[device];
        d.check(CudaNative.driver_stream_destroy(driver.functions(), d.context(), stream), "end of a stream");
    }

    @Override
    public long createEvent(int device) {
        return devices[device].createEvent();
    }

    @Override
    public void destroyEvent(int device, long event) {
        DriverDevice d = devices[device];
        d.check(CudaNative.driver_event_destroy(driver.functions(), d.context(), event), "end of an event");
    }

    @Override
    public void record(int device, long event, long stream) {
        DriverDevice d = alive(device);
        d.check(
                CudaNative.driver_event_record(driver.functions(), d.context(), event, d.stream(stream)),
                "record of an event");
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
        d.check(CudaNative.driver_event_synchronize(driver.functions(), d.context(), event), "waiting for an event");
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
        d.check(CudaNative.driver_synchronize(driver.functions(), d.context()), "waiting for the device");
        d.faults().raise();
    }

    // ---------------------------------------------------------------- graphs

    @Override
    public void beginCapture(int device, long stream) {
        DriverDevice d = alive(device);
        d.check(
                CudaNative.driver_capture_begin(driver.functions(), d.context(), d.stream(stream)),
                "beginning a capture");
        captures.put(d.stream(stream), true);
    }

    @Override
    public long endCapture(int device, long stream) {
        DriverDevice d = devices[device];
        captures.remove(d.stream(stream));
        return d.made(
                result -> CudaNative.driver_capture_end(driver.functions(), d.context(), d.stream(stream), result),
                "ending a capture");
    }

    @Override
    public void launchGraph(int device, long graph, long stream) {
        DriverDevice d = alive(device);
        d.faults().raise();
        d.check(
                CudaNative.driver_graph_launch(driver.functions(), d.context(), graph, d.stream(stream)),
                "launch of a graph");
    }

    @Override
    public void destroyGraph(int device, long graph) {
        DriverDevice d = devices[device];
        d.check(CudaNative.driver_graph_destroy(driver.functions(), d.context(), graph), "end of a graph");
    }

    // ---------------------------------------------------------------- kernels

    @Override
    public Path compile(int device, KernelSource source) {
        int architecture = devices[device].properties().architecture();
        return cache.get(
                List.of(source.unit(), compiler.fingerprint(architecture)),
                at -> Files.write(at, compiler.compile(source, architecture)));
    }

    @Override
    public Path keep(String op, byte[] image) {
        return cache.get(List.of(new String(image, StandardCharsets.ISO_8859_1)), at -> Files.write(at, image));
    }

    @Override
    public long load(int device, Path image) {
        DriverDevice d = devices[device];
        byte[] bytes;
        try {
            bytes = ImageCache.read(image);
        } catch (IOException e) {
            throw new UncheckedIOException("cuda: " + image + " cannot be read: " + e.getMessage(), e);
        }
        // PTX is a text, and ends with a zero.
        try (HostMemory memory = HostMemory.allocate(bytes.length + 1L)) {
            memory.buffer().put(0, bytes).put(bytes.length, (byte) 0);
            long module = d.made(
                    result -> CudaNative.driver_module(driver.functions(), d.context(), memory.address(), result),
                    "loading " + image);
            modules.put(module, device);
            return module;
        }
    }

    @Override
    public long function(long module, String name) {
        int device = java.util.Objects.requireNonNull(modules.get(module), "no such module");
        DriverDevice d = devices[device];
        try (HostMemory text = HostMemory.text(name)) {
            long function = d.made(
                    result ->
                            CudaNative.driver_function(driver.functions(), d.context(), module, text.address(), result),
                    "kernel " + name);
            functions.put(function, new Function(device, name));
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
        return devices[device].faults();
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
        if (waits && !captures.containsKey(on)) {
            status = CudaNative.driver_stream_synchronize(driver.functions(), d.context(), on);
            if (status != 0) {
                d.faulted(status, op, name(function), grid.facts() + arguments.facts());
            }
        }
    }

    private void allowShared(DriverDevice d, long function, int bytes) {
        Integer allowed = allowedShared.get(function);
        if (allowed == null || allowed < bytes) {
            d.check(
                    CudaNative.driver_shared(driver.functions(), d.context(), function, bytes),
                    "kernel " + name(function) + " with " + bytes + " bytes of dynamic shared memory");
            allowedShared.put(function, bytes);
        }
    }

    private String name(long function) {
        Function f = functions.get(function);
        return f == null ? "unknown" : f.name();
    }

    // ---------------------------------------------------------------- products of matrices

    @Override
    public @Nullable Blas blas(int device) {
        if (!blasTried[device]) {
            openBlas(device);
        }
        return blas[device];
    }

    private synchronized void openBlas(int device) {
        CublasLt library = CublasLt.get();
        if (!blasTried[device] && library != null) {
            DriverDevice d = devices[device];
            d.check(CudaNative.driver_use(driver.functions(), d.context()), "the device cannot be used");
            blas[device] = library.on(this, device, stream -> {
                d.check(CudaNative.driver_use(driver.functions(), d.context()), "the device cannot be used");
                return d.stream(stream);
            });
        }
        blasTried[device] = true;
    }
}
