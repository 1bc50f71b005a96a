"""What tests of several roles share: minted material, and two parties in one process."""
