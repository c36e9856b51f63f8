// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.Merapi;
import dev.merapi.data.Cifar10;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Dataset;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.data.Transform;
import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.io.Csv;
import dev.merapi.io.FormatException;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.IOException;
import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TransformTest {
    private static final double[] HALF = {0.5, 0.25, 0.125};

    /** Pixels that say where they are: channel · 100 + row · 10 + column. */
    private static Tensor images(int n, int side) {
        byte[] pixels = new byte[n * 3 * side * side];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) (i / (side * side) % 3 * 100 + i / side % side * 10 + i % side);
        }
        return Tensor.of(pixels, DType.UINT8, n, 3, side, side);
    }

    @Test
    void pixelsBecomeFloatsInOnePass() {
        Tensor x = images(2, 5);
        Tensor y = Transform.normalize(new double[] {0.5, 0.4, 0.3}, HALF).apply(x);
        assertThat(y.dtype()).isEqualTo(DType.FLOAT32);
        double[] from = x.to(DType.FLOAT64).toDoubleArray();
        float[] to = y.toFloatArray();
        for (int i = 0; i < to.length; i++) {
            int c = i / 25 % 3;
            assertThat((double) to[i]).isCloseTo((from[i] / 255 - (0.5 - 0.1 * c)) / HALF[c], within(1e-6));
        }
        assertThatThrownBy(() -> Transform.normalize(HALF, HALF).apply(x.to(DType.FLOAT32)))
                .isInstanceOf(DTypeException.class);
        assertThatThrownBy(() ->
                        Transform.normalize(new double[] {0}, new double[] {1}).apply(x))
                .isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Transform.normalize(HALF, new double[] {0, 1, 1}))
                .isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> Transform.toFloat().apply(x.at(0))).isInstanceOf(ShapeException.class);
    }

    @Test
    void cropsAreConnectedPartsAtAllPlaces() {
        Merapi.seed(3);
        Tensor y = Transform.randomCrop(4, 3, 1).apply(images(200, 5).add(1));
        assertThat(y.shape().toArray()).containsExactly(200, 3, 4, 3);
        boolean[][] seen = new boolean[4][5];
        long[] all = y.to(DType.INT64).toLongArray();
        for (int n = 0; n < 200; n++) {
            int at = n * 36 + 4; // row 1 and column 1 of the part, which lie within the image
            int top = (int) (all[at] - 1) / 10;
            int left = (int) (all[at] - 1) % 10;
            seen[top][left] = true;
            for (int i = 0; i < 36; i++) {
                int row = top - 1 + i / 3 % 4;
                int column = left - 1 + i % 3;
                boolean inside = row >= 0 && row < 5 && column >= 0 && column < 5;
                assertThat(all[n * 36 + i]).isEqualTo(inside ? i / 12 * 100 + row * 10 + column + 1 : 0);
            }
        }
        for (boolean[] row : seen) {
            assertThat(row).containsOnly(true);
        }
        assertThatThrownBy(() -> Transform.randomCrop(9, 9, 1).apply(images(1, 5)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("padding: 1");
        assertThat(Transform.randomCrop(2, 2, 0).apply(images(0, 5)).shape().toArray())
                .containsExactly(0, 3, 2, 2);
    }

    @Test
    void someImagesAreFlipped() {
        Merapi.seed(4);
        Tensor x = images(300, 4);
        Tensor y = Transform.randomFlip(0.25).apply(x);
        assertThat(y.dtype()).isEqualTo(DType.UINT8);
        int flipped = 0;
        for (int i = 0; i < 300; i++) {
            byte[] now = bytes(y.at(i));
            boolean same = Arrays.equals(now, bytes(x.at(i)));
            assertThat(same || Arrays.equals(now, bytes(x.at(i).flip(2)))).isTrue();
            flipped += same ? 0 : 1;
        }
        assertThat(flipped).isBetween(45, 105); // 75 ± 4 deviations
        assertThat(bytes(Transform.randomFlip(0).apply(x))).isEqualTo(bytes(x));
        assertThat(bytes(Transform.randomFlip(1).apply(x))).isEqualTo(bytes(x.flip(3)));
    }

    private static byte[] bytes(Tensor t) {
        long[] values = t.to(DType.INT64).toLongArray();
        byte[] all = new byte[values.length];
        for (int i = 0; i < all.length; i++) {
            all[i] = (byte) values[i];
        }
        return all;
    }

    @Test
    void coloursStayInRangeAndGrayStaysGray() {
        Merapi.seed(5);
        Tensor x = Transform.toFloat().apply(images(20, 4));
        Tensor y = Transform.colorJitter(0.5, 0.5, 0.5).apply(x);
        assertThat(y.amin().item()).isGreaterThanOrEqualTo(0);
        assertThat(y.amax().item()).isLessThanOrEqualTo(1);
        assertThat(y.toFloatArray()).isNotEqualTo(x.toFloatArray());
        assertThat(Transform.colorJitter(0, 0, 0).apply(x).toFloatArray()).isEqualTo(x.toFloatArray());
        Tensor gray = Tensor.full(0.5, 4, 3, 2, 2);
        float[] still = Transform.colorJitter(0, 0.9, 0.9).apply(gray).toFloatArray();
        assertThat(still).usingComparatorWithPrecision(1e-5f).containsOnly(0.5f);
        assertThatThrownBy(() -> Transform.colorJitter(0.1, 0, 0).apply(images(1, 4)))
                .isInstanceOf(DTypeException.class);
        assertThatThrownBy(() -> Transform.colorJitter(2, 0, 0)).isInstanceOf(IllegalArgumentException.class);
        assertThat(Transform.resize(7, 2).apply(x).shape().toArray()).containsExactly(20, 3, 7, 2);
    }

    @Test
    void mixedTargetsAreProbabilities() {
        Merapi.seed(6);
        Tensor y = Tensor.of(0L, 1, 2, 1);
        double[] shares = new double[400];
        for (int i = 0; i < shares.length; i++) {
            Labelled mixed = Transform.mixup(0.5, 3).apply(new Labelled(y.to(DType.FLOAT32), y));
            double[] p = mixed.targets().to(DType.FLOAT64).toDoubleArray();
            assertThat(p).hasSize(12);
            double expected = p[1] + 2 * p[2]; // inputs are their class
            assertThat(mixed.inputs().at(0).item()).isCloseTo(expected, within(1e-6));
            assertThat(p[0] + p[1] + p[2]).isCloseTo(1, within(1e-6));
            shares[i] = p[0];
        }
        // Of 0, with other classes three times in four: E λ = 1/2, so 5/8 of it stays.
        assertThat(Arrays.stream(shares).average().orElse(0)).isCloseTo(0.625, within(0.08));
        assertThatThrownBy(() -> Transform.mixup(0, 3)).isInstanceOf(IllegalArgumentException.class);
    }

    /** What a batch draws depends on seed, epoch and number alone: not on threads, nor on where a run was stopped. */
    @Test
    void augmentedBatchesAreTheSameWithThreadsAndAfterAResume() {
        Dataset<Labelled> data = new TensorDataset(images(20, 6), Tensor.arange(20))
                .map(Transform.randomCrop(6, 6, 2)
                        .then(Transform.randomFlip(0.5))
                        .then(Transform.toFloat())
                        .then(Transform.colorJitter(0.4, 0.4, 0.4))
                        .ofInputs());
        List<float[]> expected = null;
        for (int ahead : new int[] {0, 1, 3}) {
            Merapi.seed(9);
            List<float[]> seen = new ArrayList<>();
            try (DataLoader<Labelled> loader = DataLoader.of(data, 4).shuffle(1).prefetch(ahead)) {
                StateDict middle = null;
                for (int epoch = 0; epoch < 2; epoch++) {
                    for (Labelled batch : loader) {
                        seen.add(batch.inputs().toFloatArray());
                        middle = seen.size() == 7 ? loader.stateDict() : middle;
                    }
                }
                expected = expected == null ? seen : expected;
                assertThat(seen).hasSize(10).usingRecursiveComparison().isEqualTo(expected);
                Merapi.seed(9);
                try (DataLoader<Labelled> later =
                        DataLoader.of(data, 4).shuffle(1).prefetch(ahead)) {
                    later.loadStateDict(java.util.Objects.requireNonNull(middle));
                    Iterator<Labelled> rest = later.iterator();
                    for (int i = 7; i < 10; i++) {
                        assertThat(rest.next().inputs().toFloatArray()).isEqualTo(expected.get(i));
                    }
                    assertThat(rest.hasNext()).isFalse();
                }
            }
        }
    }

    // ---------------------------------------------------------------- files

    @Test
    void cifarRecords(@TempDir Path folder) throws IOException {
        byte[] records = new byte[2 * 3073];
        records[0] = 7;
        records[3073] = 9;
        records[1] = (byte) 200; // red, first row
        records[3073 + 1 + 1024 + 32] = 3; // green, second row
        Files.write(folder.resolve("test_batch.bin"), records);
        TensorDataset set = Cifar10.read(folder, false);
        assertThat(set.targets().toLongArray()).containsExactly(7, 9);
        assertThat(set.inputs().at(0, 0, 0, 0).item()).isEqualTo(200);
        assertThat(set.inputs().at(1, 1, 1, 0).item()).isEqualTo(3);
        assertThat(set.inputs().to(DType.INT64).sum().item()).isEqualTo(203);
        assertThatThrownBy(() -> Cifar10.read(folder, true)).isInstanceOf(IOException.class);
        records[0] = 10;
        Files.write(folder.resolve("label.bin"), records);
        Files.write(folder.resolve("short.bin"), new byte[100]);
        for (String bad : List.of("label.bin", "short.bin")) {
            assertThatThrownBy(() -> Cifar10.read(List.of(folder.resolve(bad))))
                    .isInstanceOf(FormatException.class)
                    .hasMessageContaining(bad);
        }
    }

    @Test
    void tablesOfText(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("t.csv");
        Files.writeString(file, "\ufeffa,\"b \"\"c\"\"\",kind\r\n1,2.5,x\r\n\r\n-3e2,,\"y,\nz\"\n");
        Csv table = Csv.read(file);
        assertThat(table.names()).containsExactly("a", "b \"c\"", "kind");
        assertThat(table.size()).isEqualTo(2);
        assertThat(table.numbers("b \"c\"", "a").toFloatArray()).containsExactly(2.5f, 1, Float.NaN, -300);
        assertThat(table.values("kind")).containsExactly("x", "y,\nz");
        assertThat(table.classes("kind", table.values("kind")).toLongArray()).containsExactly(0, 1);
        assertThat(table.column("a")).containsExactly("1", "-3e2");
        assertThatThrownBy(() -> table.column("d"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("no column 'd'");
        assertThatThrownBy(() -> table.numbers("kind")).isInstanceOf(FormatException.class);
        assertThatThrownBy(() -> table.classes("kind", List.of("x"))).isInstanceOf(FormatException.class);
        assertThat(Csv.read(new StringReader("a;b\n1;2"), ';', "s").numbers("b").item())
                .isEqualTo(2);
        for (String bad : List.of("", "a,b\n1", "a\n\"1", "a\n1\"2", "a\n\"1\"2", "a,b\n1,2,3\n")) {
            assertThatThrownBy(() -> Csv.read(new StringReader(bad), ',', "bad"))
                    .as(bad)
                    .isInstanceOf(FormatException.class)
                    .hasMessageContaining("bad");
        }
    }
}
