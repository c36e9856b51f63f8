// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;
import java.util.zip.Deflater;

/**
 * An image as a PNG file, with nothing of the desktop: eight bits a channel, rows without filters.
 *
 * @param channels 1 for grey, 3 for colours, 4 with transparency
 * @param rows of pixels, from the top; channels of a pixel side by side
 */
record Png(int width, int height, int channels, byte[] rows) {
    private static final byte[] SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

    /** Of [C, H, W] or [H, W]: uint8 as it is, floating numbers from 0 to 1. */
    static Png of(Tensor image) {
        int rank = image.rank();
        long channels = rank == 3 ? image.size(0) : 1;
        if (rank < 2 || rank > 3 || channels != 1 && channels != 3 && channels != 4 || image.numel() == 0) {
            throw new ShapeException(Message.of("image: needs [H, W], or [C, H, W] of 1, 3 or 4 channels")
                    .fact("image", image.describe())
                    .fix("move the channels to the front by permute, and give one image at a time."));
        }
        int height = (int) image.size(-2);
        int width = (int) image.size(-1);
        double scale = image.dtype().isFloating() ? 255 : 1;
        double[] values = image.detach().toDoubleArray();
        byte[] rows = new byte[values.length];
        for (int c = 0; c < channels; c++) {
            for (int i = 0; i < height * width; i++) {
                double v = values[c * height * width + i] * scale;
                rows[i * (int) channels + c] = (byte) Math.rint(Math.max(0, Math.min(255, v))); // NaN is black
            }
        }
        return new Png(width, height, (int) channels, rows);
    }

    byte[] toBytes() {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(SIGNATURE);
        byte colours = (byte) (channels == 1 ? 0 : channels == 3 ? 2 : 6);
        chunk(
                out,
                "IHDR",
                ByteBuffer.allocate(13)
                        .putInt(width)
                        .putInt(height)
                        .put(new byte[] {8, colours, 0, 0, 0})
                        .array());
        chunk(out, "IDAT", compressed());
        chunk(out, "IEND", new byte[0]);
        return out.toByteArray();
    }

    private byte[] compressed() {
        int stride = width * channels;
        byte[] filtered = new byte[height * (stride + 1)]; // before each row the kind of its filter: none
        for (int y = 0; y < height; y++) {
            System.arraycopy(rows, y * stride, filtered, y * (stride + 1) + 1, stride);
        }
        Deflater deflater = new Deflater();
        try {
            deflater.setInput(filtered);
            deflater.finish();
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            byte[] part = new byte[1 << 13];
            while (!deflater.finished()) {
                out.write(part, 0, deflater.deflate(part));
            }
            return out.toByteArray();
        } finally {
            deflater.end();
        }
    }

    private static void chunk(ByteArrayOutputStream out, String name, byte[] content) {
        byte[] typed = ByteBuffer.allocate(4 + content.length)
                .put(name.getBytes(StandardCharsets.US_ASCII))
                .put(content)
                .array();
        CRC32 sum = new CRC32();
        sum.update(typed);
        out.writeBytes(ByteBuffer.allocate(4).putInt(content.length).array());
        out.writeBytes(typed);
        out.writeBytes(ByteBuffer.allocate(4).putInt((int) sum.getValue()).array());
    }
}
