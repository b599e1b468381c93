// Package fence connects [github.com/venta-hq/redlock/fence] to libraries on
// which the root module does not depend, and tests fence.SQL on real servers:
//
//   - [github.com/venta-hq/redlock/contrib/fence/pgxfence] checks tokens in
//     transactions of pgx.
package fence
