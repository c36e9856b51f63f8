// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.driver.FakeGpu;
import dev.merapi.data.DataLoader;
import dev.merapi.data.DataLoaderException;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.device.DeviceEvent;
import dev.merapi.device.DeviceStream;
import dev.merapi.dispatch.Context;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Captured graphs and streams on a driver that does nothing at once, so that what is not ordered shows. */
class AsynchronousTest extends StreamContract {
    private static Device fake = Device.CPU;

    @AfterAll
    static void forget() {
        FakeGpu.forget();
    }

    @BeforeAll
    static void driver() {
        Simulator.require();
        fake = FakeGpu.device("cuda-async", "");
    }

    @Override
    Device device() {
        return fake;
    }

    @Override
    void takenAgain(long address, Tensor next) {
        assertEquals(address, next.address(), "the memory that was freed is what is wanted");
    }

    @Test
    void aCapturedTrainingRunHasTheSimulatorsBits() {
        Generator before = Context.current().setGenerator(new Generator(7));
        try {
            CudaGraphTest.same(
                    CudaGraphTest.train(Simulator.DEVICE, 5, 2, false, false),
                    CudaGraphTest.train(fake, 5, 2, true, false));
        } finally {
            Context.current().setGenerator(before);
        }
    }

    @Test
    void aLoaderBringsBatchesToTheDevice() {
        for (int prefetch : new int[] {0, 2}) {
            TensorDataset data = new TensorDataset(
                    Tensor.arange(0, 40 * 500, 1, DType.FLOAT32, Device.CPU).view(40, 500), Tensor.arange(40));
            double sum = 0;
            int count = 0;
            try (DataLoader<Labelled> loader =
                    DataLoader.of(data, 4).prefetch(prefetch).to(fake)) {
                for (int epoch = 0; epoch < 2; epoch++) {
                    for (Labelled batch : loader) {
                        try (Scope scope = Scope.open()) {
                            assertEquals(fake, batch.inputs().device());
                            double first = 500.0 * 4 * (count++ % 10);
                            assertEquals(first, batch.inputs().at(0, 0).item());
                            sum += batch.inputs().sum().item();
                            batch.inputs().close();
                            batch.targets().close();
                        }
                    }
                }
                loader.iterator().next(); // left before its end
            }
            assertEquals(20, count);
            assertEquals(2 * 19999.0 * 20000 / 2, sum, 1e-6 * sum);
        }
    }

    @Test
    void aDeviceThatIsNotThereReachesWhoTakesABatch() {
        TensorDataset data = new TensorDataset(Tensor.zeros(4, 2), Tensor.arange(4));
        try (DataLoader<Labelled> loader = DataLoader.of(data, 2).to(Device.of("cuda-async:7"))) {
            assertThrows(DataLoaderException.class, () -> loader.iterator().next());
        }
    }

    @Test
    void eventsHaveNoPlaceInACapturedStep() {
        Tensor x = full(1);
        try (DeviceStream side = DeviceStream.on(fake);
                DeviceEvent before = side.record()) {
            for (Runnable step : List.<Runnable>of(
                    () -> DeviceStream.current(fake).await(before),
                    () -> DeviceStream.current(fake).record().close(),
                    () -> side.record().close())) {
                try (CudaGraph<Tensor> graph = CudaGraph.of(fake, () -> {
                            Tensor y = x.add(1);
                            step.run();
                            return y;
                        })
                        .warmup(0)) {
                    GraphCaptureException e = assertThrows(GraphCaptureException.class, graph::run);
                    assertTrue(e.getMessage().startsWith("stream."), e.getMessage());
                }
            }
            assertAll(2, x.add(1));
        }
        x.close();
    }
}
