// Package tests holds the files in deploy to what reads them: manifests are
// decoded strictly into the types of Kubernetes, compose.yaml is checked by
// Compose's own loader, units by systemd, and the nodes' configuration and users
// are loaded by real servers, which then restart one by one at the pace the files
// set. It is a module of its own, so that none of this is in the library's.
package tests
