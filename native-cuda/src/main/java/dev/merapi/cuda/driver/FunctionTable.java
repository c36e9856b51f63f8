// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.CudaException;
import java.util.List;

/**
 * Addresses of functions in a library that was found at run time. All are looked up before any is called: a symbol that
 * is missing at the call would end the process.
 */
public record FunctionTable(HostMemory words) {
    /** @throws CudaException if one is missing */
    static FunctionTable of(String library, long handle, List<String> names) {
        HostMemory words = HostMemory.allocate(names.size() * (long) Long.BYTES);
        FunctionTable table = new FunctionTable(words);
        for (int i = 0; i < names.size(); i++) {
            try (HostMemory name = HostMemory.text(names.get(i))) {
                long address = CudaNative.library_symbol(handle, name.address());
                if (address == 0) {
                    String place = i == 0 ? "" : " (" + table.place() + ")";
                    words.close();
                    throw new CudaException("cuda: " + library + place + " has no " + names.get(i));
                }
                words.buffer().putLong(i * Long.BYTES, address);
            }
        }
        return table;
    }

    /** The file that the library was found in. */
    String place() {
        try (HostMemory text = HostMemory.allocate(1024)) {
            CudaNative.library_place(words.buffer().getLong(0), text.address(), 1024);
            return text.text();
        }
    }

    long address() {
        return words.address();
    }
}
