// SPDX-License-Identifier: Apache-2.0
/** All that an application needs: {@code requires dev.merapi;}. Natives come with it, by the services that they provide. */
module dev.merapi {
    requires transitive dev.merapi.core;
    requires transitive dev.merapi.cpu;
}
