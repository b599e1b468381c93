// Package dbserver starts the PostgreSQL and MariaDB servers that are
// installed, as children of a test, on loopback and with empty data in a
// temporary directory. It starts servers on Linux only.
package dbserver
