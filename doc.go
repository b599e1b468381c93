// Package redlock coordinates processes through several independent Redis nodes. It has no code of its own: package lock
// runs functions under distributed locks and is where to start; lease, mutex and cluster are the layers below it, and
// embedded has nodes for tests. See README.md.
package redlock
