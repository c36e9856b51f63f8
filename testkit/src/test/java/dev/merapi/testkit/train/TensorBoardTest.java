// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.TensorBoard;
import dev.merapi.types.DType;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TensorBoardTest {
    private static final String READER = """
            import sys
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
            a = EventAccumulator(sys.argv[1], size_guidance={k: 0 for k in ('scalars', 'images', 'histograms', 'tensors')})
            a.Reload()
            print('scalars', [(e.step, e.value) for e in a.Scalars('loss')], [e.step for e in a.Scalars('big/rate')])
            h = a.Histograms('weights')[0].histogram_value
            print('histogram', h.min, h.max, h.num, h.sum, sum(h.bucket), len(h.bucket) == len(h.bucket_limit))
            print('middle', sum(c for c, b in zip(h.bucket, h.bucket_limit) if b <= 0.5 * 1.1))
            i = a.Images('digit')[0]
            print('image', i.step, i.width, i.height, i.encoded_image_string[:4])
            t = a.Tensors('sample')[0].tensor_proto
            print('text', t.string_val[0].decode(), a.SummaryMetadata('sample').plugin_data.plugin_name)
            """;

    @TempDir
    Path folder;

    @BeforeEach
    void write() throws IOException {
        try (TensorBoard board = TensorBoard.create(folder)) {
            for (int i = 0; i < 5; i++) {
                board.scalars(i, Map.of("loss", 1.0 / (i + 1), "big/rate", 1e-3));
            }
            board.histogram("weights", 2, Tensor.of(-1f, 0f, 0.25f, 0.5f, 2f, Float.NaN));
            board.image("digit", 2, Tensor.linspace(0, 1, 12).reshape(3, 4));
            board.text("sample", 2, "**bold** ä");
        }
        try (TensorBoard board = TensorBoard.resume(folder, 3)) {
            board.scalar("loss", 3, 7);
        }
    }

    /** The files, in the order that they were written. */
    private List<Path> files() throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.sorted().toList();
        }
    }

    /** The framing by hand: length, its sum, contents, their sum. */
    @Test
    void recordsAreFramed() throws IOException {
        ByteBuffer file = ByteBuffer.wrap(Files.readAllBytes(files().get(0))).order(ByteOrder.LITTLE_ENDIAN);
        List<byte[]> events = new ArrayList<>();
        while (file.hasRemaining()) {
            byte[] length = new byte[8];
            file.get(length);
            assertThat(file.getInt()).isEqualTo(masked(length));
            byte[] event = new byte
                    [(int) ByteBuffer.wrap(length)
                            .order(ByteOrder.LITTLE_ENDIAN)
                            .getLong()];
            file.get(event);
            assertThat(file.getInt()).isEqualTo(masked(event));
            events.add(event);
        }
        assertThat(events).hasSize(1 + 10 + 3);
        assertThat(new String(events.get(0), StandardCharsets.ISO_8859_1)).contains("brain.Event:2");
    }

    /** CRC-32C bit by bit. */
    private static int masked(byte[] bytes) {
        int sum = -1;
        for (byte b : bytes) {
            sum ^= b & 0xff;
            for (int i = 0; i < 8; i++) {
                sum = sum >>> 1 ^ ((sum & 1) != 0 ? 0x82f63b78 : 0);
            }
        }
        sum = ~sum;
        return (sum >>> 15 | sum << 17) + 0xa282ead8;
    }

    @Test
    void imagesAreWhatTheyWere() throws IOException {
        Path images = folder.resolve("images");
        Tensor colours = Tensor.linspace(0, 255, 3 * 5 * 7).reshape(3, 5, 7).to(DType.UINT8);
        Tensor clear = Tensor.cat(List.of(colours, Tensor.full(255, 1, 5, 7).to(DType.UINT8)), 0);
        Tensor grey = Tensor.linspace(-0.1, 1.1, 35).reshape(5, 7);
        for (Tensor image : List.of(colours, clear, grey)) {
            byte[] file;
            try (TensorBoard board = TensorBoard.create(images.resolve("c" + image.rank() + image.size(0)))) {
                board.image("x", 0, image);
            }
            try (Stream<Path> all = Files.list(images.resolve("c" + image.rank() + image.size(0)))) {
                file = Files.readAllBytes(all.findFirst().orElseThrow());
            }
            int at = new String(file, StandardCharsets.ISO_8859_1).indexOf("\u0089PNG");
            var read = ImageIO.read(new ByteArrayInputStream(file, at, file.length - at));
            for (int y = 0; y < 5; y++) {
                for (int x = 0; x < 7; x++) {
                    int[] pixel = read.getRaster().getPixel(x, y, (int[]) null);
                    double expected = image.rank() == 2
                            ? Math.rint(255
                                    * Math.max(0, Math.min(1, grey.at(y, x).item())))
                            : image.at(0, y, x).item();
                    assertThat((double) pixel[0]).isEqualTo(expected);
                    assertThat((double) pixel[pixel.length - 1])
                            .isEqualTo(
                                    image.rank() == 2
                                            ? expected
                                            : image.at(-1, y, x).item());
                }
            }
        }
        try (TensorBoard board = TensorBoard.create(folder)) {
            assertThatThrownBy(() -> board.image("x", 0, Tensor.zeros(2, 3, 4))).isInstanceOf(ShapeException.class);
            assertThatThrownBy(() -> board.image("x", 0, Tensor.zeros(3))).isInstanceOf(ShapeException.class);
        }
    }

    /** {@code -Dmerapi.test.python=…} names a Python that has TensorBoard. */
    @Test
    void tensorBoardReadsIt() throws Exception {
        String python = System.getProperty("merapi.test.python", "python3");
        assumeTrue(run(python, "import tensorboard") != null, "no TensorBoard in " + python + ": -Dmerapi.test.python");
        assertThat(run(python, READER)).isEqualTo("""
                scalars [(0, 1.0), (1, 0.5), (2, 0.3333333432674408), (3, 7.0)] [0, 1, 2]
                histogram -1.0 2.0 5.0 1.75 5.0 True
                middle 4.0
                image 2 4 3 b'\\x89PNG'
                text **bold** ä text
                """);
    }

    /** What it prints; null if it ends with an error or is not there. */
    private String run(String python, String program) throws InterruptedException {
        try {
            ProcessBuilder builder = new ProcessBuilder(python, "-c", program, folder.toString());
            builder.environment().put("PYTHONIOENCODING", "utf-8");
            Path errors = folder.resolveSibling("errors.txt");
            builder.redirectError(errors.toFile());
            Process process = builder.start();
            String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            boolean well = process.waitFor() == 0;
            if (!well && !program.startsWith("import tensorboard")) {
                throw new AssertionError(Files.readString(errors));
            }
            return well ? said : null;
        } catch (IOException e) {
            return null;
        }
    }
}
