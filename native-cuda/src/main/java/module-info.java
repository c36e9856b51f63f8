// SPDX-License-Identifier: Apache-2.0

/** The CUDA backend. */
module dev.merapi.cuda {
    requires static org.jspecify;

    exports dev.merapi.cuda;
}
