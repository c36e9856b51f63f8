// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import java.util.List;

/**
 * Addresses of functions in a library that was found at run time. All are looked up before any is called: a symbol that
 * is missing at the call would end the process.
 */
record FunctionTable(HostMemory words) {
    /** @throws CudaException if one is missing */
    static FunctionTable of(String library, long handle, List<String> names) {
        HostMemory words = HostMemory.allocate(names.size() * (long) Long.BYTES);
        for (int i = 0; i < names.size(); i++) {
            try (HostMemory name = HostMemory.text(names.get(i))) {
                long address = CudaNative.library_symbol(handle, name.address());
                if (address == 0) {
                    words.close();
                    throw new CudaException("cuda: " + library + " has no " + names.get(i));
                }
                words.buffer().putLong(i * Long.BYTES, address);
            }
        }
        return new FunctionTable(words);
    }

    long address() {
        return words.address();
    }
}
