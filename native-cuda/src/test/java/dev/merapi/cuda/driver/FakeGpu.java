// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.backend.Backends;
import dev.merapi.cuda.CudaSim;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.Temporary;
import dev.merapi.cuda.backend.GivenRuntime;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.cuda.sim.SimulatedCuda;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * {@link NativeCuda} on a driver that is no GPU's: its streams are threads, its kernels the simulator's. So all that the
 * runtime does with a driver is seen at work, but nothing of NVIDIA's.
 */
public final class FakeGpu {
    private static final List<Backends.Registration> REGISTERED = new ArrayList<>();

    private static Path built = Path.of("");

    private FakeGpu() {}

    /** The simulator's own images: what both run is compiled once. */
    private record HostImages(SimulatedCuda simulator, boolean compilesApart) implements NativeCuda.Compiler {
        @Override
        public String description() {
            return "the host's compiler";
        }

        @Override
        public String fingerprint(int architecture) {
            return "fake " + simulator.description() + (CudaSim.checks() ? " with checks" : "");
        }

        @Override
        public byte[] compile(KernelSource source, int architecture) {
            try {
                return Files.readAllBytes(simulator.compile(source));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /** The driver, compiled; tests are skipped, with the reason, where that cannot be done. */
    public static synchronized Path library() throws IOException, InterruptedException {
        if (!Files.exists(built) || built.toString().isEmpty()) {
            Simulator.require();
            Path sources = Path.of("src", "main", "cpp");
            assumeTrue(Files.exists(sources.resolve("simulator.cpp")), "skipped: the simulator's sources are not here");
            Path library = Temporary.file(Temporary.folder("fake-driver"), "libcuda.so.1");
            Process p = new ProcessBuilder(
                            System.getenv().getOrDefault("CXX", "g++"),
                            "-std=c++17",
                            "-O1",
                            "-fPIC",
                            "-shared",
                            "-Wl,-Bsymbolic",
                            "-o",
                            library.toString(),
                            Path.of("src", "test", "cpp", "fake_driver.cpp").toString(),
                            sources.resolve("simulator.cpp").toString(),
                            sources.resolve("checks.cpp").toString(),
                            "-ldl",
                            "-pthread")
                    .inheritIO()
                    .start();
            assertEquals(0, p.waitFor(), "the fake driver does not compile");
            built = library;
        }
        return built;
    }

    /** A kind of device that stands on a driver of its own, until {@link #forget}: other tests ask all devices there are. */
    public static Device device(String name, String configuration) {
        return device(name, () -> open(configuration));
    }

    /** As above, until the process ends. */
    public static Device lasting(String name) {
        DeviceType type = DeviceType.register(name);
        Backends.register(new GivenRuntime(type, () -> open("")));
        return Device.of(type, 0);
    }

    /** As above, on a runtime that the test itself uses too. */
    public static Device device(String name, Supplier<CudaRuntime> runtime) {
        DeviceType type = DeviceType.register(name);
        REGISTERED.add(Backends.register(new GivenRuntime(type, runtime)));
        return Device.of(type, 0);
    }

    public static void forget() {
        REGISTERED.forEach(Backends.Registration::close);
        REGISTERED.clear();
    }

    /** A driver of its own, with a device of its own. */
    public static NativeCuda open(String configuration) {
        try {
            Path library = library();
            Path folder = Temporary.folder("fake-driver");
            Path copy = Temporary.file(folder, "libcuda.so.1");
            Files.copy(library, copy);
            Files.writeString(Temporary.file(folder, "libcuda.so.1.conf"), configuration);
            SimulatedCuda simulator = SimulatedCuda.create();
            assertNotNull(simulator);
            Matcher count = Pattern.compile("devices=(\\d+)").matcher(configuration);
            int devices = count.find() ? Integer.parseInt(count.group(1)) : 1;
            return new NativeCuda(
                    Driver.open(copy.toString()),
                    0,
                    devices,
                    new HostImages(simulator, configuration.contains("apart=1")));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** An image that the fake driver loads. */
    public static byte[] image(KernelSource source) {
        SimulatedCuda simulator = SimulatedCuda.create();
        assertNotNull(simulator);
        return new HostImages(simulator, false).compile(source, 80);
    }

    /** A driver that has only these functions. */
    static Path stub(Path folder, List<String> functions) throws IOException, InterruptedException {
        return library(folder.resolve("libcuda.so.1"), functions);
    }

    /** A library that has only these functions. */
    public static Path library(Path library, List<String> functions) throws IOException, InterruptedException {
        Path source = Temporary.file(Temporary.folder("stub"), "stub.cpp");
        StringBuilder text = new StringBuilder();
        functions.forEach(f -> text.append("extern \"C\" int ").append(f).append("() { return 0; }\n"));
        Files.writeString(source, text);
        Process p = new ProcessBuilder(
                        System.getenv().getOrDefault("CXX", "g++"),
                        "-shared",
                        "-fPIC",
                        "-o",
                        library.toString(),
                        source.toString())
                .inheritIO()
                .start();
        assertEquals(0, p.waitFor());
        return library;
    }
}
