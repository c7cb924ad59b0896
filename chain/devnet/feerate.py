"""Amounts and feerates as Bitcoin Core writes them: BTC with eight decimals, satoshi per kvB."""

from __future__ import annotations

import msgspec

COIN = 100_000_000


def fee_at(sat_per_kvb: int, vsize: int) -> int:
    """The fee in satoshi for `vsize` virtual bytes, rounded up (`CFeeRate::GetFee`)."""
    return -(-sat_per_kvb * vsize // 1000)


def money(satoshi: int) -> str:
    """BTC with at least two decimals, as Core's texts have it (`FormatMoney`)."""
    sign = "-" if satoshi < 0 else ""
    whole, rest = divmod(abs(satoshi), COIN)
    decimals = f"{rest:08d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def feerate_text(fee: int, vsize: int) -> str:
    """A feerate as Core's texts have it (`CFeeRate::ToString`)."""
    per_kvb = fee * 1000 // vsize
    return f"{per_kvb // COIN}.{per_kvb % COIN:08d} BTC/kvB"


def btc(satoshi: int) -> msgspec.Raw:
    """The JSON number in BTC with eight decimals, as Core writes amounts and feerates."""
    sign = "-" if satoshi < 0 else ""
    whole, rest = divmod(abs(satoshi), COIN)
    return msgspec.Raw(f"{sign}{whole}.{rest:08d}".encode())


def satoshi_of(value: object) -> int:
    """Satoshi of a BTC number or text from a call. Raises ValueError when it is neither."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("Amount is not a number or string")
    return round(float(value) * COIN)
