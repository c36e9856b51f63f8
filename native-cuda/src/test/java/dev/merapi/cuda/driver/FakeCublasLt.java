// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.Temporary;
import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.sim.SimulatedCuda;
import dev.merapi.types.Device;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** A cuBLASLt made of loops on the host, compiled once; it works with the simulator's memory. */
public final class FakeCublasLt {
    private static long library;

    private FakeCublasLt() {}

    /** The open library; tests are skipped, with the reason, where it cannot be compiled. */
    static synchronized long library() throws IOException, InterruptedException {
        if (library == 0) {
            Simulator.require();
            Path folder = Temporary.folder("fake-cublaslt");
            Path source = Temporary.file(folder, "fake.cpp");
            Path built = Temporary.file(folder, "libcublasLt.so.13");
            try (InputStream in = FakeCublasLt.class.getResourceAsStream("fake_cublaslt.cpp")) {
                Files.write(source, java.util.Objects.requireNonNull(in).readAllBytes());
            }
            String compiler = System.getenv().getOrDefault("CXX", "g++");
            Process p = new ProcessBuilder(
                            compiler,
                            "-std=c++17",
                            "-O1",
                            "-shared",
                            "-fPIC",
                            "-o",
                            built.toString(),
                            source.toString())
                    .redirectErrorStream(true)
                    .start();
            String said = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            boolean ended = p.waitFor(2, TimeUnit.MINUTES) && p.exitValue() == 0;
            assumeTrue(ended || !said.contains("_Float16"), "this compiler has no _Float16: " + said);
            assertTrue(ended, said);
            try (HostMemory path = HostMemory.text(built.toString())) {
                library = CudaNative.library_open(path.address(), 0, 0);
            }
            assertNotEquals(0, library);
        }
        return library;
    }

    /** Streams have handles above 4711, and others the library refuses; of these, the ones above 5000 are captured. */
    private static final CublasLt.Streams STREAMS = new CublasLt.Streams() {
        @Override
        public long handle(long stream) {
            return 4711 + stream;
        }

        @Override
        public boolean isCaptured(long handle) {
            return handle > 5000;
        }

        @Override
        public void finish(long handle) {} // it works while it is called
    };

    public static Blas blas() throws IOException, InterruptedException {
        return blas(false);
    }

    /** @param tunes whether algorithms are measured */
    static Blas blas(boolean tunes) throws IOException, InterruptedException {
        return CublasLt.of(library()).on(STREAMS, tunes);
    }

    /**
     * The library's counters, int each: handles, heuristics, products, objects alive; stream and algorithm of the last
     * product.
     */
    static ByteBuffer calls() throws IOException, InterruptedException {
        try (HostMemory name = HostMemory.text("cublasLtCreate");
                HostMemory table = HostMemory.allocate(Long.BYTES);
                HostMemory result = HostMemory.allocate(Long.BYTES)) {
            table.buffer().putLong(0, CudaNative.library_symbol(library(), name.address()));
            assertEquals(0, CudaNative.blas_create(table.address(), result.address()));
            return HostMemory.view(result.buffer().getLong(0), 24); // the handle is their address
        }
    }

    public static int products() throws IOException, InterruptedException {
        return calls().getInt(4 * 2);
    }

    /** The simulator with this library: where a backend looks for one, it finds it. Until {@link FakeGpu#forget}. */
    public static Device device(String name) throws IOException, InterruptedException {
        Blas blas = blas();
        SimulatedCuda simulator = java.util.Objects.requireNonNull(SimulatedCuda.create());
        CudaRuntime runtime = (CudaRuntime) Proxy.newProxyInstance(
                CudaRuntime.class.getClassLoader(), new Class<?>[] {CudaRuntime.class}, (proxy, method, args) -> {
                    switch (method.getName()) {
                        case "blas":
                            return blas;
                        case "hasBlas":
                            return true;
                        default:
                            try {
                                return method.invoke(simulator, args);
                            } catch (InvocationTargetException e) {
                                throw e.getTargetException();
                            }
                    }
                });
        return FakeGpu.device(name, () -> runtime);
    }
}
