// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.Merapi;
import dev.merapi.types.Device;
import java.util.stream.Collectors;

/** Says what a run stands on: versions, and the device that was asked for. */
final class Banner {
    private Banner() {}

    static void print(Device device) {
        System.out.println(Merapi.describe()
                .lines()
                .filter(line -> !line.startsWith(" ") || line.startsWith("  " + device + ":"))
                .collect(Collectors.joining("\n")));
    }
}
