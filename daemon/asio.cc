// Asio's own code; what includes Asio in lastcalld has declarations alone.
#include <boost/asio/impl/src.hpp>
